package cost

// Prices in dollars. Free tiers are left out.
type Prices struct {
	Source string `yaml:"source" json:"source"`
	Date   string `yaml:"date" json:"date"`

	Get            float64 `yaml:"get_request" json:"get_request"`   // S3 Standard: GET, a request
	Put            float64 `yaml:"put_request" json:"put_request"`   // S3 Standard: PUT, a request
	List           float64 `yaml:"list_request" json:"list_request"` // S3 Standard: LIST, a request
	StorageGBMonth float64 `yaml:"storage_gb_month" json:"storage_gb_month"`

	LambdaInvocation float64 `yaml:"lambda_invocation" json:"lambda_invocation"`
	LambdaGBSecond   float64 `yaml:"lambda_gb_second" json:"lambda_gb_second"` // arm64
	QueueRequest     float64 `yaml:"queue_request" json:"queue_request"`       // SQS, standard queue
	// QueuePollsPerMonth are those that Lambda makes of an empty queue: five pollers, 20 seconds each.
	QueuePollsPerMonth float64 `yaml:"queue_polls_per_month" json:"queue_polls_per_month"`
	TransferGB         float64 `yaml:"transfer_out_gb" json:"transfer_out_gb"` // to the internet

	// The instance of the always-on server: memory in GB, dollars an hour.
	Instance     string  `yaml:"instance" json:"instance"`
	InstanceGB   float64 `yaml:"instance_gb" json:"instance_gb"`
	InstanceHour float64 `yaml:"instance_hour" json:"instance_hour"`
}

// ListPrices are AWS's in us-east-1, on demand, and first tiers. They change, and differ by region: a file of one's own goes over
// them. docs/cost.md says what each was held against.
func ListPrices() Prices {
	return Prices{
		Source: "AWS price list, us-east-1, on demand", Date: "noted 2025-06; docs/cost.md says what was checked since",
		Get: 0.40 / 1e6, Put: 5.0 / 1e6, List: 5.0 / 1e6, StorageGBMonth: 0.023,
		LambdaInvocation: 0.20 / 1e6, LambdaGBSecond: 0.0000133334, QueueRequest: 0.40 / 1e6, QueuePollsPerMonth: 5 * Month / 20, TransferGB: 0.09,
		Instance: "r7g.large", InstanceGB: 16, InstanceHour: 0.1071,
	}
}

// Requests is what requests cost.
func (p Prices) Requests(r Requests) float64 { return r.Get*p.Get + r.Put*p.Put + r.List*p.List }
