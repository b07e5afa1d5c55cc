package values_test

import (
	"fmt"
	"time"

	"github.com/fustor/fustor/internal/values"
)

func ExampleParseTime() {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for _, text := range []string{"1700000000.5", "2026-01-31", "7d", "1mo", "soon"} {
		ns, err := values.ParseTime(text, now)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(text, "is", time.Unix(0, ns).UTC().Format(time.RFC3339Nano))
	}
	// Output:
	// 1700000000.5 is 2023-11-14T22:13:20.5Z
	// 2026-01-31 is 2026-01-31T00:00:00Z
	// 7d is 2026-01-24T12:00:00Z
	// 1mo is 2025-12-31T12:00:00Z
	// malformed value: "soon" is not a time
}

func ExampleParseSize() {
	fmt.Println(values.ParseSize("10M"))
	fmt.Println(values.ParseSize("1.5GiB"))
	// Output:
	// 10485760 <nil>
	// 1610612736 <nil>
}

func ExampleCleanPath() {
	fmt.Println(values.CleanPath("//data/./runs/"))
	fmt.Println(values.CleanPath("/data/../etc"))
	// Output:
	// /data/runs <nil>
	//  contains ".."
}

func ExampleSeconds() {
	fmt.Println(values.Seconds(1_700_001_234_500_000_000))
	// Output: 1700001234.5
}
