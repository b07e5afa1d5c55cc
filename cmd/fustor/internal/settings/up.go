package settings

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// The files by which a `fustor up` tells the reading commands of its machine where it is. Both lie in its data
// directory.
const (
	upFile  = "up.json"
	keyFile = "api-key"
)

// Up is up.json.
type Up struct {
	URL        string `json:"url"`
	APIKeyFile string `json:"api_key_file"` // relative to the data directory, or absolute
	View       string `json:"view"`
	PID        int    `json:"pid"`
}

// ReadUp reads the data directory's up.json. fs.ErrNotExist: no `fustor up` runs there.
func ReadUp(data string) (Up, error) {
	path := filepath.Join(data, upFile)
	body, err := os.ReadFile(path)
	if err != nil {
		return Up{}, err
	}
	var up Up
	if err := json.Unmarshal(body, &up); err != nil {
		return Up{}, fmt.Errorf("%s is damaged: %w", path, err)
	}
	if up.URL == "" {
		return Up{}, fmt.Errorf("%s is damaged: it has no url", path)
	}
	return up, nil
}

// WriteUp writes the data directory's up.json, whole or not at all. Its key file is the one of KeepKey.
func WriteUp(data string, up Up) error {
	up.APIKeyFile = keyFile
	body, err := json.MarshalIndent(up, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(data, upFile), append(body, '\n'), 0o644)
}

// RemoveUp removes the up.json of the process pid; another's stays.
func RemoveUp(data string, pid int) error {
	up, err := ReadUp(data)
	if err != nil || up.PID != pid {
		return nil // none of ours: nothing to take back
	}
	return os.Remove(filepath.Join(data, upFile))
}

// KeyFile is where a data directory has its key.
func KeyFile(data string) string { return filepath.Join(data, keyFile) }

// KeepKey returns the data directory's API key, which only its owner can read: given, if the user gave one, otherwise
// the one that is kept there, otherwise a generated one. The directory must exist.
func KeepKey(data, given string, generate func() string) (string, error) {
	path := KeyFile(data)
	key := given
	if key == "" {
		kept, err := readKey(path)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return kept, err
		}
		key = generate()
	}
	if err := writeFile(path, []byte(key+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keep the API key: %w", err)
	}
	return key, nil
}

// writeFile replaces a file at once, so that readers see the old or the new one.
func writeFile(path string, body []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it is renamed
	_, err = f.Write(body)
	err = errors.Join(err, f.Chmod(mode), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
