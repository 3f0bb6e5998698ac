package console

import (
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/secboard/secboard/domain"
)

// places finds {name}.
var textPlaces = regexp.MustCompile(`\{[a-z_]+\}`)

func TestEveryTextStandsInEveryLanguage(t *testing.T) {
	t.Parallel()
	english, err := loadTexts("en")
	if err != nil {
		t.Fatal(err)
	}
	keys := slices.Sorted(maps.Keys(english.entries))
	for _, code := range domain.Languages {
		other, err := loadTexts(code)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(keys, slices.Sorted(maps.Keys(other.entries))); diff != "" {
			t.Errorf("%s (-en +%s):\n%s", code, code, diff)
		}
		for _, key := range keys {
			entry := other.entries[key]
			forms := []string{entry.One, entry.Other}
			if code != "en" {
				forms = []string{entry.One, entry.Few, entry.Many, entry.Other}
			}
			if english.entries[key].One == "" {
				forms = []string{entry.Other}
			}
			for _, form := range forms {
				want := textPlaces.FindAllString(english.entries[key].Other, -1)
				got := textPlaces.FindAllString(form, -1)
				slices.Sort(want)
				slices.Sort(got)
				if form == "" || !slices.Equal(want, got) {
					t.Errorf("%s %s: %q has the places %v, want %v", code, key, form, got, want)
				}
			}
		}
	}
}

// A text that nothing shows is removed, and a key that something shows has a text.
func TestEveryTextIsUsedAndEveryKeyHasAText(t *testing.T) {
	t.Parallel()
	english, err := loadTexts("en")
	if err != nil {
		t.Fatal(err)
	}
	var source strings.Builder
	err = fs.WalkDir(os.DirFS("."), ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || strings.HasSuffix(path, "_test.go") ||
			!strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, ".html") {
			return err
		}
		content, err := os.ReadFile(path)
		source.Write(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	quoted := map[string]bool{}
	for _, found := range regexp.MustCompile("[\"`]([a-z0-9_.]+)[\"`]").FindAllStringSubmatch(source.String(), -1) {
		quoted[found[1]] = true
	}
	for key := range english.entries {
		used := quoted[key]
		for i, r := range key { // "action." stands for all keys below it
			used = used || r == '.' && quoted[key[:i+1]]
		}
		if !used {
			t.Errorf("nothing shows %q", key)
		}
	}
	shown := regexp.MustCompile("(?:\\bt |\\bh |texts\\.text\\(|texts\\.html\\(|goTo\\([^\"\n]*, )" +
		"\"([a-z0-9_.]+[a-z0-9_])\"")
	for _, found := range shown.FindAllStringSubmatch(source.String(), -1) {
		if !english.has(found[1]) {
			t.Errorf("there is no text for %q", found[1])
		}
	}
	for _, section := range places {
		for _, place := range section.items {
			if !english.has(place.title) {
				t.Errorf("there is no text for %q of the menu", place.title)
			}
		}
	}
}

func TestPluralsFollowTheLanguage(t *testing.T) {
	t.Parallel()
	for code, want := range map[string][]string{
		"en": {"0 codes", "1 code", "2 codes", "5 codes", "21 codes", "1,000 codes"},
		"uk": {"0 кодів", "1 код", "2 коди", "5 кодів", "21 код", "1 000 кодів"},
	} {
		texts, err := loadTexts(code)
		if err != nil {
			t.Fatal(err)
		}
		texts.entries = map[string]entry{"codes": map[string]entry{
			"en": {One: "{n} code", Other: "{n} codes"},
			"uk": {One: "{n} код", Few: "{n} коди", Many: "{n} кодів", Other: "{n} кодів"},
		}[code]}
		var got []string
		for _, n := range []int{0, 1, 2, 5, 21, 1000} {
			got = append(got, strings.ReplaceAll(texts.text("codes", "n", n), "\u00a0", " "))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", code, diff)
		}
	}
}

func TestWhatIsFilledInIsEscaped(t *testing.T) {
	t.Parallel()
	texts := &texts{entries: map[string]entry{"joined": {Other: "Joined <{group}>"}}}
	want := "Joined &lt;<b>&lt;script&gt;</b>&gt;"
	if got := string(texts.html("joined", "group", "<script>")); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
