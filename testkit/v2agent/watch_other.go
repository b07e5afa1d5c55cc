//go:build !linux

package v2agent

import (
	"context"
	"errors"
	"io/fs"
)

// WatchDisk is Watch for Dir.
func (a *Agent) WatchDisk(context.Context, func(Change)) error {
	return errors.New("this agent watches on Linux only")
}

func ctime(info fs.FileInfo) int64 { return info.ModTime().UnixNano() }
