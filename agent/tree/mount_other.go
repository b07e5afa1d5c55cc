//go:build !linux

package tree

// MountPoint implements System.
func (osSystem) MountPoint(path string) (string, error) { return pathMountPoint(path) }
