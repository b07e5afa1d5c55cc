//go:build !unix

package unixsocket

import "io/fs"

// owner is unknown where files have no uid.
func owner(fs.FileInfo) uint32 { return nobody }
