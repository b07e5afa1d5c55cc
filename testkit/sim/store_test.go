package sim

import (
	"testing"
	"time"

	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/testkit/storesuite"
)

func TestStoreKeepsTheContract(t *testing.T) {
	storesuite.Run(t, func(*testing.T) store.Store { return NewStore(time.Now) }, storesuite.NoPresign, storesuite.NoNotify, storesuite.NoUpload)
}
