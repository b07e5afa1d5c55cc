//go:build !linux

package v2agent

import (
	"context"
	"errors"
	"io/fs"
)

type change struct {
	path    string
	writing bool
	from    string
}

func (a *Agent) watch(context.Context, chan<- change) error {
	return errors.New("this agent watches on Linux only")
}

func ctime(info fs.FileInfo) int64 { return info.ModTime().UnixNano() }
