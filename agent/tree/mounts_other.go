//go:build !linux

package tree

// Mounts implements System. It cannot be told here.
func (osSystem) Mounts(string) (Mounts, error) { return nil, nil }

// MountChanges implements System.
func (osSystem) MountChanges() uint64 { return 0 }
