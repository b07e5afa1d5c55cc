// Testsummary reads `go test -json` on stdin, prints what failed with its output, names what was skipped and why, and
// ends with one line "N passed, N failed, N skipped". It exits with 1 if anything failed, or if nothing was tested.
// The Makefile calls it.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
)

func main() {
	s := summary{tests: map[name]*test{}}
	if err := s.read(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "testsummary: %v\n", err)
		os.Exit(1)
	}
	w := bufio.NewWriter(os.Stdout)
	ok := s.print(w)
	if err := w.Flush(); err != nil || !ok {
		os.Exit(1)
	}
}

// read takes the events and reports each package as it ends, so that a long run shows that it lives.
func (s *summary) read(r io.Reader, progress io.Writer) error {
	lines := bufio.NewReaderSize(r, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			s.add(line, progress)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read test events: %w", err)
		}
	}
}
