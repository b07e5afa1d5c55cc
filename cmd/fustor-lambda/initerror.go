package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/doctor"
)

// reportInitError tells Lambda why the function cannot begin, as the Runtime API has it; aws-lambda-go does not. Lambda
// shows it to whoever invokes the function.
func reportInitError(api string, failure error) error {
	body, err := json.Marshal(struct {
		Message string   `json:"errorMessage"`
		Type    string   `json:"errorType"`
		Stack   []string `json:"stackTrace"`
	}{failure.Error() + initHint(failure), "Fustor.Init", []string{}})
	if err != nil {
		return err
	}
	request, err := http.NewRequest(http.MethodPost, "http://"+api+"/2018-06-01/runtime/init/error", bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Lambda-Runtime-Function-Error-Type", "Fustor.Init")
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{Proxy: nil}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode != http.StatusAccepted {
		return fmt.Errorf("init error: %s", response.Status)
	}
	return nil
}

// initHint says what to do about it.
func initHint(err error) string {
	switch {
	case errors.Is(err, doctor.ErrUnfit):
		return "; `fustor doctor URL` shows every rule"
	case errors.Is(err, store.ErrDenied):
		return "; check the permissions of the function's role; infra/aws/template.yaml lists them"
	case errors.Is(err, store.ErrNoBucket):
		return "; create the bucket first, or correct FUSTOR_STORE"
	}
	return ""
}
