package httpapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/secboard/secboard/pause/pausetest"
)

const installNginx = "nginx is not installed: apt-get install -y --no-install-recommends nginx-light"

// nginx starts a real nginx in front of the API, and gives its address. upstream are directives for how it talks to it.
func (a *api) nginx(t *testing.T, upstream string) string {
	t.Helper()
	program, err := exec.LookPath("nginx")
	if errors.Is(err, exec.ErrNotFound) {
		program, err = exec.LookPath("/usr/sbin/nginx") // only root's path has it
	}
	if err != nil {
		t.Fatal(installNginx)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	api := strings.TrimPrefix(a.url, "http://")
	// Two entries, so that a failure of one counts: nginx then takes it out for a while, for everybody.
	settings := fmt.Sprintf(`
daemon off; master_process off; pid %[1]s/pid; error_log stderr;
events {}
http {
	access_log off; client_max_body_size 0;
	client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
	upstream secboard { server %[2]s; server %[3]s; keepalive 8; }
	server {
		listen %[4]s;
		location / { proxy_pass http://secboard; proxy_set_header X-Forwarded-For $remote_addr; %[5]s }
	}
}`, dir, api, strings.Replace(api, "127.0.0.1", "127.0.0.2", 1), address, upstream)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	// A second address of the same server, as another instance would have.
	second, err := net.Listen("tcp", strings.Replace(api, "127.0.0.1", "127.0.0.2", 1))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: a.engine, ReadHeaderTimeout: patience}
	var said bytes.Buffer
	running := exec.CommandContext(t.Context(), program, "-p", dir, "-c", file)
	running.Stderr = &said
	if err := running.Start(); err != nil {
		t.Fatal(err)
	}
	var ending sync.WaitGroup
	ending.Go(func() { _ = server.Serve(second) }) // it is closed below
	ending.Go(func() { _ = running.Wait() })       // it is killed below
	t.Cleanup(func() {
		_ = running.Process.Kill() // it may have ended
		_ = server.Close()         // the test is over
		ending.Wait()
		if t.Failed() {
			t.Logf("nginx says: %s", said.String())
		}
	})
	pausetest.Until(t, "nginx answers", func() bool {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return false
		}
		return conn.Close() == nil
	})
	return "http://" + address
}

// Behind a proxy that is still sending, a refusal is the refusal and no 502, for the one who is refused and for others.
func TestNginxSeesWhyABodyIsRefused(t *testing.T) {
	t.Parallel()
	for name, upstream := range map[string]string{
		"by default":       "",
		"connections kept": `proxy_http_version 1.1; proxy_set_header Connection "";`,
		"bodies passed on": "proxy_request_buffering off;",
		"passed on, and are kept": `proxy_request_buffering off; proxy_http_version 1.1;
			proxy_set_header Connection "";`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const large = 3 << 20
			a := newAPI(t, trusting("127.0.0.0/8"), func(o *Options) { o.MaxBody = 2 * large })
			proxy := a.nginx(t, upstream)
			send := func(method, path, token string, size int64) (int, string) {
				var body io.Reader
				if size > 0 {
					body = io.LimitReader(spaces{}, size)
				}
				request, err := http.NewRequestWithContext(t.Context(), method, proxy+path, body)
				if err != nil {
					t.Fatal(err)
				}
				request.Header.Set("Content-Type", "application/json")
				if token != "" {
					request.Header.Set("Authorization", "Bearer "+token)
				}
				request.ContentLength = size
				request.Close = true // nginx closes connections whose bodies it did not read, too
				response, err := http.DefaultClient.Do(request)
				if err != nil {
					return 0, err.Error()
				}
				defer response.Body.Close() //nolint:errcheck // it was read
				text, err := io.ReadAll(response.Body)
				if err != nil {
					return 0, err.Error()
				}
				return response.StatusCode, string(text)
			}
			var all sync.WaitGroup
			for range 10 {
				for _, c := range []struct {
					path, token string
					size        int64
					status      int
				}{
					{"/sessions", "", large, http.StatusRequestEntityTooLarge},
					{"/companies", "", large, http.StatusUnauthorized},
					{"/companies", a.admin, 2*large + 1, http.StatusRequestEntityTooLarge},
					{"/companies", a.admin, large, http.StatusRequestEntityTooLarge},
				} {
					all.Go(func() {
						status, text := send(http.MethodPost, basePath+c.path, c.token, c.size)
						if status != c.status || !strings.Contains(text, `"code"`) {
							t.Errorf("%d bytes to %s: %d %s, want %d", c.size, c.path, status, text, c.status)
						}
					})
					all.Go(func() {
						if status, text := send(http.MethodGet, basePath+"/me", a.admin, 0); status != http.StatusOK {
							t.Errorf("others get %d %s", status, text)
						}
					})
				}
			}
			all.Wait()
			var limited atomic.Int64
			for range signInsPerAccount + 3 {
				all.Go(func() {
					switch status, text := sendSignIn(t, proxy); status {
					case http.StatusTooManyRequests:
						limited.Add(1)
					case http.StatusUnauthorized:
					default:
						t.Errorf("an attempt: %d %s", status, text)
					}
				})
			}
			all.Wait()
			if got := limited.Load(); got != 3 {
				t.Errorf("%d attempts are one too many", got)
			}
		})
	}
}

func sendSignIn(t *testing.T, proxy string) (int, string) {
	t.Helper()
	response, err := http.Post(proxy+basePath+"/sessions", "application/json",
		strings.NewReader(`{"email": "nobody@example.com", "password": "wrong"}`))
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close() //nolint:errcheck // it was read
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(text)
}
