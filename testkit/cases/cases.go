// Package cases says how many random cases a test tries. The race detector makes a case five to ten times as dear and finds in the
// tenth what it found in the first, so with it a test tries a fifth of them; make models tries all of them without it, and
// CASES=10 ten times as many. Tests by rapid have RAPID_CHECKS in the same way (Makefile).
package cases

import (
	"os"
	"strconv"
)

// Of is how many of n seeds, rounds or the like a test tries: at least one.
func Of(n int) int {
	if raceDetector {
		return (n + 4) / 5
	}
	if times, err := strconv.Atoi(os.Getenv("FUSTOR_CASES")); err == nil && times > 0 {
		return n * times
	}
	return n
}
