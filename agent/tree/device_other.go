//go:build !unix

package tree

import "io/fs"

// DeviceOf is 0 where files have no device numbers.
func DeviceOf(fs.FileInfo) uint64 { return 0 }
