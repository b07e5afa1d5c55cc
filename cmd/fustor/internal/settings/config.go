package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/fustor/fustor/internal/yamltree"
)

// config is the config file. Unknown and doubled fields are errors.
type config struct {
	URL        string `yaml:"url"`
	APIKey     string `yaml:"api_key"`
	APIKeyFile string `yaml:"api_key_file"` // relative to the config file
	View       string `yaml:"view"`
	Data       string `yaml:"data"` // the data directory of a `fustor up` of this machine

	path string
}

// readConfig reads the config file; without one it is empty.
func readConfig(path string) (config, error) {
	c := config{path: path}
	if path == "" {
		return c, nil
	}
	body, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("read the config file: %w", err)
	}
	if body, err = yamltree.Text(body); err != nil {
		return c, fmt.Errorf("config file %s: %w", path, err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(body), yaml.Strict())
	if err := decoder.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return c, fmt.Errorf("config file %s: %s", path, strings.Join(strings.Fields(yaml.FormatError(err, false, false)), " "))
	}
	if c.APIKey != "" && c.APIKeyFile != "" {
		return c, fmt.Errorf("config file %s: api_key and api_key_file cannot both be set", path)
	}
	if c.URL != "" && c.Data != "" {
		return c, fmt.Errorf("config file %s: url and data cannot both be set", path)
	}
	return c, nil
}

// key is the file's API key, or "".
func (c config) key() (string, error) {
	if c.APIKeyFile == "" {
		return c.APIKey, nil
	}
	if filepath.IsAbs(c.APIKeyFile) {
		return readKey(c.APIKeyFile)
	}
	return readKey(filepath.Join(filepath.Dir(c.path), c.APIKeyFile))
}

// readKey reads the key that is alone in a file.
func readKey(path string) (string, error) {
	body, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read the API key: %w", err)
	}
	key := strings.TrimSpace(string(body))
	if key == "" || strings.ContainsAny(key, " \t\r\n") {
		return "", fmt.Errorf("read the API key: %s does not hold one key on one line", path)
	}
	return key, nil
}
