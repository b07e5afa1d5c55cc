// Package cases says how many random cases a test tries. The race detector makes a case five to ten times as dear and finds in the
// tenth what it found in the first, so with it a test tries a fifth of them; make models tries all of them without it, and
// CASES=10 ten times as many.
package cases

import (
	"flag"
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

// OfRapid has rapid try as many of its hundred cases, unless -rapid.checks or RAPID_CHECKS says how many: for TestMain of a package
// whose cases are dear. Laws that are quick have all of them always.
func OfRapid() {
	flag.Parse()
	given := os.Getenv("RAPID_CHECKS") != ""
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	if !given {
		if err := flag.Set("rapid.checks", strconv.Itoa(Of(100))); err != nil {
			panic(err)
		}
	}
}
