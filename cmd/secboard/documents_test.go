package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	dropped = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors are those that GitHub gives to the headings of a document.
func anchors(text string) map[string]bool {
	found := map[string]bool{}
	for _, h := range heading.FindAllStringSubmatch(text, -1) {
		found["#"+strings.ReplaceAll(dropped.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-")] = true
	}
	return found
}

func TestTheDocumentsLinkToWhatIsThereAndFitAScreen(t *testing.T) {
	t.Parallel()
	const root = "../.."
	var documents []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md", ".github/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, found...)
	}
	if len(documents) < 10 {
		t.Fatalf("only %d documents were found: %v", len(documents), documents)
	}
	for _, document := range documents {
		t.Run(strings.TrimPrefix(document, root+"/"), func(t *testing.T) {
			t.Parallel()
			content, err := os.ReadFile(document)
			if err != nil {
				t.Fatal(err)
			}
			for i, line := range strings.Split(string(content), "\n") {
				if width := utf8.RuneCountInString(line); width > 120 && !strings.HasPrefix(line, "|") {
					t.Errorf("line %d has %d columns, more than 120", i+1, width)
				}
			}
			for _, match := range link.FindAllStringSubmatch(string(content), -1) {
				target, anchor, hasAnchor := strings.Cut(match[1], "#")
				if strings.Contains(target, "://") {
					continue
				}
				linked := document
				if target != "" {
					linked = filepath.Join(filepath.Dir(document), target)
				}
				text, err := os.ReadFile(linked)
				if err != nil {
					t.Errorf("the link to %s: %v", match[1], err)
				} else if hasAnchor && !anchors(string(text))["#"+anchor] {
					t.Errorf("the link to %s: there is no such heading", match[1])
				}
			}
		})
	}
}
