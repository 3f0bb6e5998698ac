package domain

import "strings"

// Sentences joins texts that are a sentence or more each, so that every one of them ends with one full stop, whether it
// had one or not. Empty texts are left out.
func Sentences(texts ...string) string {
	var sentences []string
	for _, text := range texts {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		if bare := strings.TrimRight(text, "."); !strings.HasSuffix(bare, "…") && !strings.HasSuffix(bare, "!") &&
			!strings.HasSuffix(bare, "?") {
			text = bare + "."
		}
		sentences = append(sentences, text)
	}
	return strings.Join(sentences, " ")
}
