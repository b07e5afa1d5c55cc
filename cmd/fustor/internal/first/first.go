// Package first runs a reading command in the small program fustor-read, if that stands beside this one and is of the same build.
//
// Go initialises packages in the order of their import paths, each as soon as all that it imports are ready. This one imports next
// to nothing, so it comes before the SDKs, the metrics and the Parquet code, whose own start takes longer than the answer to a
// reading command. Without fustor-read the command runs here, and gives the same answer. Package main imports this package; it
// must import nothing but os and syscall.
package first

import (
	"os"
	"syscall"
)

// Version is that of this build. The linker sets it (Makefile); a build without it uses no other program.
var Version string

// The environment of the program that takes over.
const (
	// BuildEnv is for fustor-read: the version of the fustor that runs it.
	BuildEnv = "FUSTOR_READ_BUILD"
	// WholeEnv is for fustor: fustor-read gives the command line back.
	WholeEnv = "FUSTOR_READ_BACK"
)

// Commands are those that fustor-read has.
var Commands = [...]string{"find", "ls", "tree", "du", "stat", "search"}

func init() {
	if _, back := os.LookupEnv(WholeEnv); back {
		_ = os.Unsetenv(WholeEnv) // a program that this one starts is not told
		return
	}
	if Version == "" || len(os.Args) < 2 || !reads(os.Args[1]) {
		return
	}
	program, err := Beside("fustor-read")
	if err != nil {
		return
	}
	_ = syscall.Exec(program, os.Args, append(os.Environ(), BuildEnv+"="+Version)) // if it fails, the command runs here
}

func reads(command string) bool {
	for _, c := range Commands {
		if c == command {
			return true
		}
	}
	return false
}

// Beside is the path of a program in the directory of this one. It does not look whether there is one.
func Beside(name string) (string, error) {
	own, err := os.Executable()
	if err != nil {
		return "", err
	}
	end := len(own)
	for end > 0 && !os.IsPathSeparator(own[end-1]) {
		end--
	}
	return own[:end] + name, nil
}
