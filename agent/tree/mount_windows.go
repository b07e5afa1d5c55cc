package tree

import "path/filepath"

// pathMountPoint is the volume's root.
func pathMountPoint(path string) (string, error) {
	return filepath.VolumeName(path) + string(filepath.Separator), nil
}
