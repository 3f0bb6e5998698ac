# SecBoard accounts for production: the program alone, in an otherwise empty file system. `make release` makes the same
# image without a container engine.
#
# There is no Postgres in it, so the stores have to be named: SECBOARD_EVENTSTORE_URL and SECBOARD_DATABASE_URL.

FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
# .git stays outside, so what `secboard version` says comes in from outside too.
ARG VERSION=""
ARG COMMIT=""
ARG DATE=""
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    make build BIN=/root-owned/usr/local/bin VERSION="${VERSION}" COMMIT="${COMMIT}" DATE="${DATE}" \
    && mkdir -m 1777 /root-owned/tmp && mkdir -p -m 0700 /user-owned/data

FROM scratch
COPY --from=build /root-owned/ /
COPY --from=build --chown=65532:65532 /user-owned/ /
USER 65532:65532
ENV SECBOARD_DATA=/data \
    SECBOARD_LISTEN=0.0.0.0:8080 \
    SECBOARD_LOG_FORMAT=json
# It holds the keyset: without it sealed secrets can't be read.
VOLUME /data
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/secboard"]
CMD ["serve"]
