package sim

import (
	"testing"
	"time"

	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/suite"
)

func TestStoreKeepsTheContract(t *testing.T) {
	suite.Run(t, func(*testing.T) store.Store { return NewStore(time.Now) }, suite.NoPresign, suite.NoNotify)
}
