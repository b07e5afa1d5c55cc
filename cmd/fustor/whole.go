//go:build !reading

package main

// sameBuild is for fustor-read (reading.go).
func sameBuild() error { return nil }

// handOver is for fustor-read (reading.go): this program has all commands.
func handOver() error { return nil }
