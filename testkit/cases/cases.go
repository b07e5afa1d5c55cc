// Package cases says how many random cases a test tries. The race detector makes a case five to ten times as dear and finds in the
// tenth what it found in the first, so with it a test tries a tenth of them; make models tries all of them without it, and
// CASES=10 ten times as many.
package cases

import (
	"flag"
	"math/rand/v2"
	"os"
	"strconv"
)

// Of is how many of n seeds, rounds or the like a test tries: at least one.
func Of(n int) int {
	if raceDetector {
		return (n + 9) / 10
	}
	if times, err := strconv.Atoi(os.Getenv("FUSTOR_CASES")); err == nil && times > 0 {
		return n * times
	}
	return n
}

// Some are those of a list that a test tries where all of it is too dear under the race detector: then every tenth, from any one of
// the first ten on.
func Some[T any](list []T) (some []T) {
	step := len(list) / max(1, Of(len(list)))
	for i := rand.IntN(max(1, step)); i < len(list); i += max(1, step) {
		some = append(some, list[i])
	}
	return some
}

// OfRapid has rapid try as many of n cases, unless -rapid.checks or RAPID_CHECKS says how many: for TestMain of a package whose cases
// are dear. Laws that are quick have rapid's hundred always.
func OfRapid(n int) {
	flag.Parse()
	given := os.Getenv("RAPID_CHECKS") != ""
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	if !given {
		if err := flag.Set("rapid.checks", strconv.Itoa(Of(n))); err != nil {
			panic(err)
		}
	}
}
