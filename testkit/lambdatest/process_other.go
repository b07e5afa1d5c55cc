//go:build unix && !linux

package lambdatest

func peak([]byte) int64 { return 0 }
