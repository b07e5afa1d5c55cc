package engine

import (
	"errors"
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layer"
)

const fuzzNonce = "01JD0000000000000000000000"

// FuzzPageToken: what is taken for a cursor stands for a place of the order of keys, and is written so that the same is read again.
func FuzzPageToken(f *testing.F) {
	for _, token := range []pageToken{
		{Version: 7, Nonce: fuzzNonce, Query: 1, After: CursorAt(layer.Key{Parent: "/a/", Name: "\xff"}), Extra: -5},
		{Version: 1, Nonce: fuzzNonce, Query: 1, From: 2, FromNonce: fuzzNonce},
	} {
		f.Add(token.encode())
	}
	f.Add("")
	f.Add("eyJ2IjoxLCJuIjoiIn0")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := decodePageToken(text, 1)
		if err != nil {
			if !errors.Is(err, ErrCursor) && !errors.Is(err, ErrCursorQuery) {
				t.Fatal(err)
			}
			return
		}
		if k := token.key(); string(CursorAt(k)) != string(token.After) {
			t.Fatalf("%q stands for the key %+v", token.After, k)
		}
		written := token.encode()
		if again, err := decodePageToken(written, 1); err != nil || again.encode() != written {
			t.Fatalf("%+v, %+v: %v", token, again, err)
		}
		if _, err := decodePageToken(written, 2); !errors.Is(err, ErrCursorQuery) {
			t.Fatalf("it is taken for the cursor of another query: %v", err)
		}
	})
}

// FuzzFeedToken is FuzzPageToken of positions of a feed.
func FuzzFeedToken(f *testing.F) {
	for _, token := range []feedToken{
		{From: 7, FromNonce: fuzzNonce, Query: 1},
		{From: 7, FromNonce: fuzzNonce, Version: 8, Nonce: fuzzNonce, Query: 1, After: layer.Key{Parent: "/a/", Name: "\xff"}},
	} {
		f.Add(encodeFeedToken(append(appendFeedToken(nil, token), CursorAt(token.After)...)))
	}
	f.Add("c.")
	f.Add("c.AQAAAAAAAAAB")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := decodeFeedToken(text, 1)
		if err != nil {
			if !errors.Is(err, ErrCursor) && !errors.Is(err, ErrCursorQuery) {
				t.Fatal(err)
			}
			return
		}
		if token.From == 0 || token.Version != 0 && token.Version <= token.From {
			t.Fatalf("%+v", token)
		}
		written := encodeFeedToken(append(appendFeedToken(nil, token), CursorAt(token.After)...))
		if again, err := decodeFeedToken(written, 1); err != nil || again != token {
			t.Fatalf("%+v, %+v: %v", token, again, err)
		}
	})
}

// FuzzFnmatch: whatever the pattern is, what a search looks for first (the texts of names and of directories) is in every path that matches.
func FuzzFnmatch(f *testing.F) {
	for _, c := range [][3]string{{"*sample*", "/sample-1/", "reads.bam"}, {"/a/[!b-]?c/*.txt", "/a/xyc/", "é.txt"}, {"[]-a]", "/", "]"}, {"[z-a]*[", "/", "["}, {"\xff?", "/", "\xff"}} {
		f.Add(c[0], c[1], c[2])
	}
	f.Fuzz(func(t *testing.T, text, parent, name string) {
		if len(text) > 200 || len(parent) > 400 || !event.ValidPath(parent+name) || !strings.HasSuffix(parent, "/") || strings.Contains(name, "/") {
			t.Skip()
		}
		p := compileFnmatch(text)
		if !p.match(parent, name) {
			if p.name(parent, name) {
				t.Errorf("%q takes %q in %q by its name alone", text, name, parent)
			}
			return
		}
		if !p.name(parent, name) || p.directory(parent) == matchesNone || !strings.HasPrefix(parent+name, p.prefix) || !strings.Contains(parent+name, p.piece) {
			t.Errorf("%q matches %q in %q, and a search would leave it out: %+v", text, name, parent, p)
		}
	})
}
