package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed static
var staticFiles embed.FS

// asset is a file that never changes under its name, which has a part of its hash.
type asset struct {
	contentType string
	content     []byte
}

// assets are all of them: named gives the name with the hash, files what is served under it.
type assets struct {
	named map[string]string
	files map[string]asset
}

func loadAssets() (assets, error) {
	all := assets{named: map[string]string{}, files: map[string]asset{}}
	entries, err := staticFiles.ReadDir("static")
	if err != nil {
		return all, err
	}
	for _, entry := range entries {
		content, err := staticFiles.ReadFile("static/" + entry.Name())
		if err != nil {
			return all, err
		}
		hash := sha256.Sum256(content)
		extension := path.Ext(entry.Name())
		name := strings.TrimSuffix(entry.Name(), extension) + "." + hex.EncodeToString(hash[:6]) + extension
		all.named[entry.Name()] = name
		all.files[name] = asset{contentType: mime.TypeByExtension(extension), content: content}
	}
	return all, nil
}

// path gives the address of an asset.
func (a assets) path(name string) (string, error) {
	named, ok := a.named[name]
	if !ok {
		return "", fmt.Errorf("there is no asset %s", name)
	}
	return "/console/" + named, nil
}

// ServeHTTP implements http.Handler.
func (a assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	file, ok := a.files[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", file.contentType)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	http.ServeContent(w, r, r.URL.Path, time.Time{}, bytes.NewReader(file.content))
}
