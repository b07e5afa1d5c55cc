package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// A survivor is a block of lines: what and where the mutant is, the line of the source behind a tab, and below it the reason why no test
// sees it. Lines that begin with # are comments. A block stands for all mutants that read the same in one function.

// key is what a mutant is known by while lines move.
func (m mutant) key() string {
	return fmt.Sprintf("%s %s\n%s", m.file, m.what(), m.text)
}

// entry is a mutant as the list of survivors has it, without the reason.
func (m mutant) entry() string {
	return fmt.Sprintf("%s %s\n\t%s\n", m.file, m.what(), m.text)
}

func readSurvivors(path string) (reasons map[string]string, err error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: run mutants from the root of the repository", err)
	}
	if err != nil {
		return nil, err
	}
	return parseSurvivors(string(b))
}

func parseSurvivors(text string) (reasons map[string]string, err error) {
	reasons = map[string]string{}
	for block := range strings.SplitSeq(text, "\n\n") {
		var lines []string
		for line := range strings.SplitSeq(block, "\n") {
			if line != "" && !strings.HasPrefix(line, "#") {
				lines = append(lines, line)
			}
		}
		switch {
		case len(lines) == 0:
		case len(lines) < 3 || !strings.HasPrefix(lines[1], "\t"):
			return nil, fmt.Errorf("%q: an entry has what and where, the line behind a tab, and a reason", lines[0])
		default:
			reasons[lines[0]+"\n"+strings.TrimSpace(lines[1])] = strings.Join(lines[2:], " ")
		}
	}
	return reasons, nil
}
