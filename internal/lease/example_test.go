package lease_test

import (
	"fmt"
	"time"

	"github.com/fustor/fustor/internal/lease"
)

// A leader stops before anyone else may begin, whatever its clocks do.
func ExampleHold_Left() {
	const ttl = 45 * time.Second
	hold := lease.Hold{Term: 7, Start: lease.Instant{Boot: 0, Wall: 0}, TTL: ttl}
	at := func(boot, wall time.Duration) time.Duration {
		return hold.Left(lease.Instant{Boot: int64(boot), Wall: int64(wall)})
	}
	fmt.Println("after 10 s:", at(10*time.Second, 10*time.Second))
	fmt.Println("after 30 s:", at(30*time.Second, 30*time.Second))
	fmt.Println("the virtual machine stood still for 25 s:", at(10*time.Second, 35*time.Second) <= 0)
	fmt.Println("the wall clock was set back an hour:", at(10*time.Second, -time.Hour))
	fmt.Println("others may take the lease after 30 s:", !lease.Live(30*time.Second, ttl))
	fmt.Println("others may take the lease after 46 s:", !lease.Live(46*time.Second, ttl))
	// Output:
	// after 10 s: 20s
	// after 30 s: 0s
	// the virtual machine stood still for 25 s: true
	// the wall clock was set back an hour: 0s
	// others may take the lease after 30 s: false
	// others may take the lease after 46 s: true
}
