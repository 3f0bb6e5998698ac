# SecBoard accounts for production: stores of its own choice by SECBOARD_EVENTSTORE_URL and SECBOARD_DATABASE_URL. The
# image has no Postgres, so the embedded default does not run in it.

FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG VERSION=""
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-X main.version=${VERSION}" -o /out/secboard ./cmd/secboard \
    && mkdir -m 0700 /out/data

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/secboard /usr/local/bin/secboard
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
ENV SECBOARD_DATA=/data \
    SECBOARD_LISTEN=0.0.0.0:8080 \
    SECBOARD_LOG_FORMAT=json
# Holds the keyset: without it sealed secrets cannot be read.
VOLUME /data
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/secboard"]
CMD ["serve"]
