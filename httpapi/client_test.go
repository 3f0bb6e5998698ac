package httpapi

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTheExampleOfAClient(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.givePassword(t)
	emails, err := createAndList(a.url+basePath, adminEmail, adminPassword)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{adminEmail, "anna@example.com"}, emails); diff != "" {
		t.Error(diff)
	}
}
