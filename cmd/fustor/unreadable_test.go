package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNoteUnreadable: answers that lack something are told on stderr, and others are not.
func TestNoteUnreadable(t *testing.T) {
	stderr, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	a := &app{stderr: stderr}
	a.noteUnreadable("/whole", 0)
	a.noteUnreadable("/part", 1200)
	said, err := os.ReadFile(stderr.Name())
	if err != nil || strings.Count(string(said), "\n") != 1 || !strings.Contains(string(said), "/part: 1,200 paths at or below it could not be read") {
		t.Fatalf("%q, %v", said, err)
	}
}
