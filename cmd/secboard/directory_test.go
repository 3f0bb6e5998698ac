package main

import (
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/secboard/secboard/ldapclient/sambatest"
	"github.com/secboard/secboard/postgres/pgtest"
)

// The binary as it is served: people sign in through a real Active Directory, an entry that is disabled there closes
// the account by itself, and the doctor tries the connection.
func TestServeWithAnActiveDirectory(t *testing.T) {
	t.Parallel()
	d := sambatest.New(t)
	const email, password = "olena@people.example.org", `p@ss%2F"ü&=+`
	dn := d.AddUser(t, sambatest.User{Name: "olena", Password: password, Email: email})
	env := settings{"SECBOARD_DATA": filepath.Join(pgtest.TempDir(t), "data")}
	_, api := serve(t, env.with(bootstrapEmail, rootEmail).with(bootstrapPassword, rootPassword))
	api.signIn(rootEmail, rootPassword)
	connection := map[string]any{
		"name": "Samba", "urls": []string{d.URL}, "ca_pem": d.CAPEM, "base_dn": d.BaseDN, "bind_dn": d.BindDN,
		"bind_password": d.BindPassword, "timeout_s": 30,
	}
	connected := api.want(http.StatusCreated, http.MethodPost, "/api/v1/directories", connection)
	path := "/api/v1/directories/" + connected["id"].(string)
	in := api.want(http.StatusCreated, http.MethodPost, "/api/v1/sessions",
		map[string]string{"email": email, "password": password})
	account := "/api/v1/users/" + in["user"].(map[string]any)["id"].(string)
	command(t, env, "", "doctor").expect(t, exitDone, "Samba answers")

	// Nobody asks for the background check here: at the latest after its pace it has looked once.
	deadline := time.Now().Add(2 * time.Minute)
	for api.want(http.StatusOK, http.MethodGet, path, nil)["last_check_at"] == nil {
		if time.Now().After(deadline) {
			t.Fatal("the accounts were never compared with the directory")
		}
		<-time.After(100 * time.Millisecond)
	}
	d.Disable(t, dn)
	checked := api.want(http.StatusOK, http.MethodPost, path+"/check", map[string]any{})
	if checked["applied"] != true {
		t.Errorf("the check gave %v", checked)
	}
	for api.want(http.StatusOK, http.MethodGet, account, nil)["state"] != "directory_disabled" {
		if time.Now().After(deadline) {
			t.Fatal("the account of a disabled entry stays open")
		}
		<-time.After(50 * time.Millisecond)
	}

	api.want(http.StatusOK, http.MethodPatch, path, map[string]any{"bind_password": "hunter2"})
	broken := command(t, env, "", "doctor")
	broken.expect(t, exitFailed, "Samba", "bind", "Correct bind_dn or bind_password")
}
