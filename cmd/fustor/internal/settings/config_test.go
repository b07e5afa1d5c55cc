package settings

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestConfigOfOtherEditors: a byte order mark and CR LF are no part of the settings; another encoding is named.
func TestConfigOfOtherEditors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	for body, says := range map[string]string{
		"\ufeffurl: http://127.0.0.1:8080\r\nview: lab\r\n": "",
		"\xff\xfeu\x00r\x00l\x00":                           "UTF-16",
	} {
		if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := readConfig(file)
		switch {
		case says == "" && (err != nil || c.URL != "http://127.0.0.1:8080" || c.View != "lab"):
			t.Errorf("%q: %+v, %v", body, c, err)
		case says != "" && (err == nil || !strings.Contains(err.Error(), says)):
			t.Errorf("%q: %v, want %q", body, err, says)
		}
	}
}
