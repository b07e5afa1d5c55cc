// Whole stands for fustor: it says that the command line came through to it.
package main

import (
	"fmt"
	"os"

	"github.com/fustor/fustor/cmd/fustor/internal/first"
)

func main() {
	fmt.Printf("whole %s%s%s\n", os.Args[1:], os.Getenv(first.BuildEnv), os.Getenv(first.WholeEnv))
}
