package doctor

import (
	"testing"
	"time"
)

// SetRuleLimit changes how long a rule is tried, until the test ends.
func SetRuleLimit(t *testing.T, limit time.Duration) {
	before := ruleLimit
	ruleLimit = limit
	t.Cleanup(func() { ruleLimit = before })
}
