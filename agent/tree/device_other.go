//go:build !unix

package tree

import "io/fs"

// deviceOf is 0 where files have no device numbers.
func deviceOf(fs.FileInfo) uint64 { return 0 }
