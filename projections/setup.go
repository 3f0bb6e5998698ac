package projections

import (
	"context"
	"fmt"
)

// SetupItem is one thing to do in a new installation. It is done as soon as it is so; nobody ticks it off.
type SetupItem struct {
	Code     string `json:"code"`
	Done     bool   `json:"done"`
	Optional bool   `json:"optional"` // the installation is complete without it
	Detail   string `json:"detail"`
	Link     string `json:"link"`
}

// Deployment is what the set-up checklist can't learn from the read models.
type Deployment struct {
	Keyset         string // fingerprint of the keyset in use
	TrustsProxies  bool   // there is a proxy whose X-Forwarded-Proto is trusted
	HostsAreListed bool   // only requests for known host names are answered

	ProxiesSetting, HostsSetting string // the settings that decide it, as an operator knows them
}

// Setup gives the checklist of a new installation, in the order in which it is worked through.
func (r *ReadModels) Setup(ctx context.Context, d Deployment) ([]SetupItem, error) {
	site, err := r.Site(ctx)
	if err != nil {
		return nil, err
	}
	var superusers, unprotected, companies, groups int
	var mail, directories bool
	const query = `SELECT
		(SELECT count(*) FROM users WHERE superuser AND active),
		(SELECT count(*) FROM users WHERE superuser AND active AND NOT require_two_factor),
		(SELECT count(*) FROM companies WHERE NOT retired),
		(SELECT count(*) FROM groups WHERE NOT retired),
		EXISTS (SELECT FROM mail_accounts WHERE NOT retired),
		EXISTS (SELECT FROM history WHERE kind = 'directory')`
	if err := r.pool.QueryRow(ctx, query).Scan(&superusers, &unprotected, &companies, &groups, &mail,
		&directories); err != nil {
		return nil, err
	}
	item := func(code string, done bool, link, whenDone, otherwise string) SetupItem {
		detail := otherwise
		if done {
			detail = whenDone
		}
		return SetupItem{Code: code, Done: done, Detail: detail, Link: "/docs" + link}
	}
	address := site.URL()
	items := []SetupItem{
		item("superuser", superusers > 0, "", fmt.Sprintf("there are %d superusers", superusers),
			"nobody can administer this installation: secboard superuser create"),
		item("keyset", d.Keyset != "", "", "the keyset "+d.Keyset+" is in use: keep a copy of its file apart from "+
			"the data, for without it no sealed secret can be opened",
			"there is no keyset yet: the first start creates one"),
		item("site", address != "", "#change-site-settings", site.Name+" is at "+address,
			"give the site its name and the domain under which people reach it: links in mails lead there"),
		item("https", site.Protocol == "https" && d.TrustsProxies, "#change-site-settings",
			"people come over https through a trusted proxy",
			"put a proxy that speaks https in front, name it in "+d.ProxiesSetting+
				", and keep the site's protocol https: otherwise passwords are sent unencrypted"),
		item("allowed_hosts", d.HostsAreListed, "", "only requests for known host names are answered",
			"name the site's host in "+d.HostsSetting+", so that requests for other names are refused"),
		item("superusers_two_factor", superusers > 0 && unprotected == 0, "#change-user",
			"every superuser needs two-factor to sign in",
			fmt.Sprintf("superusers who can sign in with a password alone: %d; set require_two_factor for them",
				unprotected)),
		item("company", companies > 0, "#create-company", fmt.Sprintf("there are %d companies", companies),
			"create the first company"),
		item("group", groups > 0, "#create-group", fmt.Sprintf("there are %d groups", groups),
			"create a group, through which people get their permissions"),
		item("mail_account", mail, "#create-mail-account", "there is a mail account",
			"add a mail account: until then no link can be mailed to anybody"),
		item("directory", directories, "#create-directory", "a directory is connected",
			"connect a directory if people should sign in with its passwords"),
	}
	items[len(items)-1].Optional = true
	return items, nil
}
