package store

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Reserved is the one first segment that no key may have: backends keep their own files there.
const Reserved = ".fustor"

// MaxKey and MaxSegment bound a key and its parts between slashes, in bytes. A store's prefix counts towards MaxKey.
const (
	MaxKey     = 1024
	MaxSegment = 200
)

// CheckKey says whether key may name an object: UTF-8 of at most MaxKey bytes without control characters or
// backslashes (some servers take those for slashes), in segments of 1 to MaxSegment bytes that are not "." or "..",
// the first of which is not Reserved. The error is an ErrKey.
func CheckKey(key string) error {
	if reason := badKey(key); reason != "" {
		return fmt.Errorf("key %q: %s: %w", key, reason, ErrKey)
	}
	return nil
}

func badKey(key string) string {
	switch {
	case key == "":
		return "empty"
	case len(key) > MaxKey:
		return fmt.Sprintf("longer than %d bytes", MaxKey)
	case !utf8.ValidString(key):
		return "not UTF-8"
	case strings.IndexFunc(key, badRune) >= 0:
		return "a control character or a backslash"
	}
	for i, segment := range strings.Split(key, "/") {
		switch {
		case segment == "":
			return "an empty segment"
		case segment == "." || segment == "..":
			return "a segment is . or .."
		case len(segment) > MaxSegment:
			return fmt.Sprintf("a segment longer than %d bytes", MaxSegment)
		case i == 0 && segment == Reserved:
			return "the first segment is reserved"
		}
	}
	return ""
}

// badRune tells what XML 1.0, and so an S3 listing, cannot carry, or what some servers rewrite.
func badRune(r rune) bool { return r < 0x20 || r == 0x7f || r == '\\' || r == 0xfffe || r == 0xffff }
