//go:build !unix

package tree

import "io/fs"

// fillSystem has nothing to add where files have no numbers.
func fillSystem(*Info, fs.FileInfo) {}
