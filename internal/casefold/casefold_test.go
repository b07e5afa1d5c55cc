package casefold

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"
)

func TestFoldsAlike(t *testing.T) {
	for _, names := range [][]string{
		{"σίσυφος", "ΣΊΣΥΦΟΣ", "Σίσυφοσ"},
		{"İstanbul", "istanbul", "ISTANBUL", "I\u0307stanbul"},
		{"café", "cafe\u0301", "CAFÉ", "CAFE\u0301"},
		{"Straße", "STRASSE", "straſſe", "STRAẞE"},
		{"ﬁle", "FILE", "file"},
		{"한글", norm.NFD.String("한글")},
		{"がぎ", norm.NFD.String("がぎ")},
		{"Й.TXT", "и\u0306.txt"},
		{"\xff É \xc3", "\xff e\u0301 \xc3"},
		{"5 \u212a", "5 k"},
	} {
		for _, name := range names[1:] {
			if String(name) != String(names[0]) {
				t.Errorf("%q is folded to %q, and %q to %q", names[0], String(names[0]), name, String(name))
			}
		}
	}
	for _, pair := range [][2]string{{"cafe", "café"}, {"\xe9", "\xc9"}, {"ı", "i"}, {"a", "а"}} {
		if String(pair[0]) == String(pair[1]) {
			t.Errorf("%q and %q are folded alike", pair[0], pair[1])
		}
	}
}

// TestSpecialsAreAll asks all characters there are which of them fold to ASCII.
func TestSpecialsAreAll(t *testing.T) {
	for r := rune(utf8.RuneSelf); r <= utf8.MaxRune; r++ {
		if !utf8.ValidRune(r) {
			continue
		}
		folded := String(string(r))
		special := r == 0x307 || strings.ContainsFunc(folded, func(c rune) bool { return c < utf8.RuneSelf })
		if special != IsSpecial(r) || special != slices.Contains(Special[:], r) {
			t.Errorf("%U folds to %q; special: %v", r, folded, IsSpecial(r))
		}
		if quickly, ok := quick(string(r)); ok && quickly != valid(string(r)) {
			t.Errorf("%U folds to %q quickly, and to %q", r, quickly, valid(string(r)))
		}
	}
}

// Name draws names of characters that have cases, marks, several forms, or are no characters.
func drawName(t *rapid.T) string {
	pieces := []string{"a", "I", "i", "S", "s", "k", "/", "é", "e", "É", "\u0301", "\u0307", "\u0327", "\u0338", "ß", "ſ", "İ", "ı", "ς", "Σ", "ΐ", "й", "Й", "И", "\u0306", "\u0483",
		"ﬃ", "ẖ", "ŉ", "ǰ", "\u212a", "\u037e", "\u1fef", "中", "한", "\u1112", "\u1161", "\u11ab", "か", "\u3099", "が", "\xff", "\xc3", "\x9f", "𝒜", "𐐀", "ᾳ", "ͅ"}
	return strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 8).Draw(t, "pieces"), "")
}

func TestFoldLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := drawName(t)
		folded := String(name)
		if quickly, ok := quick(name); ok && utf8.ValidString(name) && quickly != valid(name) {
			t.Fatalf("%q folds to %q quickly, and to %q", name, quickly, valid(name))
		}
		if utf8.ValidString(name) {
			for _, form := range []norm.Form{norm.NFC, norm.NFD} {
				if other := form.String(name); String(other) != folded {
					t.Fatalf("%q folds to %q, and its other form %q to %q", name, folded, other, String(other))
				}
			}
		}
		if s := IndexSpecial(name, 0); s < len(name) {
			return
		}
		// Without special characters every run of ASCII in the folded name is one of the name, in some case.
		for _, run := range strings.FieldsFunc(folded, func(r rune) bool { return r >= utf8.RuneSelf }) {
			if !strings.Contains(strings.Map(lowerASCII, name), run) {
				t.Fatalf("%q has %q only when it is folded (%q)", name, run, folded)
			}
		}
	})
}

func lowerASCII(r rune) rune {
	if r >= 'A' && r <= 'Z' {
		r += 'a' - 'A'
	}
	return r
}
