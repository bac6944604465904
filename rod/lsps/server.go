package lsps

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"lightningrod/rod"
)

// Server answers clients. It owns Devices and no more: what rod.hold asks for is an event for the caller's rod.Table.
type Server struct {
	Devices   *Devices
	Rod       rod.Config // what rod.get_info tells
	Protocols []int      // LSPS numbers supported besides 0 and 5
}

// Call is one payload of a client.
type Call struct {
	Client     rod.NodeID // the peer, as BOLT 8 authenticated it
	Payload    []byte
	HasChannel bool  // we have a usable channel with it
	Now        int64 // unix seconds
}

// Result is what a call leads to. Rows are durable before Response is sent. If Event is set there is no Response yet: apply the event, then
// send Answer.
type Result struct {
	Response   []byte
	Rows       []rod.Row
	Registered *Device // tell this device, and only it, lsps5.webhook_registered before anything else
	Event      rod.Event

	id json.RawMessage
}

// MethodRegistered is the notification for Result.Registered.
const MethodRegistered = "lsps5.webhook_registered"

type method func(s *Server, c Call, params map[string]json.RawMessage, r *Result) (any, *Error)

var methods = map[string]method{
	"lsps0.list_protocols":  (*Server).listProtocols,
	"lsps5.set_webhook":     (*Server).setWebhook,
	"lsps5.list_webhooks":   (*Server).listWebhooks,
	"lsps5.remove_webhook":  (*Server).removeWebhook,
	"rod.get_info":          (*Server).getInfo,
	"rod.hold":              (*Server).hold,
	"rod.cancel":            (*Server).cancel,
	"rod.register_device":   (*Server).registerDevice,
	"rod.unregister_device": (*Server).unregisterDevice,
}

// Handle answers one payload.
func (s *Server) Handle(c Call) Result {
	req, e := ParseRequest(c.Payload)
	r := Result{id: req.ID}
	if e == nil {
		if m := methods[req.Method]; m == nil {
			e = &Error{Code: CodeMethodNotFound, Message: "Method not found"}
		} else {
			var result any
			if result, e = m(s, c, req.Params, &r); r.Event != nil {
				return r
			}
			r.Response = encodeResponse(r.id, result, e)
			return r
		}
	}
	r.Response = encodeResponse(r.id, nil, e)
	return r
}

// Answer makes the response of a Result with an Event of what the event led to.
func (r Result) Answer(out rod.Output) []byte {
	for _, reply := range out.Replies {
		if reply.Path != nil {
			continue
		}
		switch reply.Type {
		case rod.TypeHoldAck:
			if ack, err := rod.DecodeAck(reply.Payload); err == nil {
				return encodeResponse(r.id, newHoldResult(ack), nil)
			}
		case rod.TypeStatus:
			if st, err := rod.DecodeStatus(reply.Payload); err == nil {
				return encodeResponse(r.id, cancelResult{uint8(st.State), st.State.String()}, nil)
			}
		}
	}
	return encodeResponse(r.id, nil, &Error{Code: CodeInternal, Message: "Internal error"})
}

func (s *Server) listProtocols(c Call, params map[string]json.RawMessage, r *Result) (any, *Error) {
	if e := readParams(params); e != nil {
		return nil, e
	}
	return struct {
		Protocols []int `json:"protocols"`
	}{append([]int{5}, s.Protocols...)}, nil
}

func (s *Server) setWebhook(c Call, params map[string]json.RawMessage, r *Result) (any, *Error) {
	var name, target string
	if e := readParams(params, param{"app_name", true, &name}, param{"webhook", true, &target}); e != nil {
		return nil, e
	}
	// bLIP 55: the length of app_name counts its escapes, so it is that of the JSON, without the quotes.
	if n := len(params["app_name"]) - 2; n > maxAppName {
		return nil, &Error{Code: CodeTooLong, Message: fmt.Sprintf("app_name length %d above maximum %d", n, maxAppName)}
	}
	if e := s.Devices.checkURL(target); e != nil {
		return nil, e
	}
	dev := Device{Client: c.Client, Name: name, Platform: Webhook, Target: target, LSPS5: true}
	rows, same, err := s.Devices.set(dev, c.HasChannel, c.Now)
	if err != nil {
		return nil, s.setError(err, CodeTooManyWebhooks, "max_webhooks")
	}
	r.Rows = rows
	if !same {
		r.Registered = &dev
	}
	return struct {
		Num      int  `json:"num_webhooks"`
		Max      int  `json:"max_webhooks"`
		NoChange bool `json:"no_change"`
	}{len(s.webhooks(c.Client)), s.Devices.cfg.PerClient, same}, nil
}

func (s *Server) setError(err error, code int, field string) *Error {
	if errors.Is(err, errTooMany) {
		return &Error{code, err.Error(), map[string]any{field: s.Devices.cfg.PerClient}}
	}
	return &Error{Code: CodeInternal, Message: err.Error()}
}

// webhooks gives the app_names of client.
func (s *Server) webhooks(client rod.NodeID) []string {
	names := []string{}
	for _, d := range s.Devices.Of(client) {
		if d.LSPS5 {
			names = append(names, d.Name)
		}
	}
	return names
}

func (s *Server) listWebhooks(c Call, params map[string]json.RawMessage, r *Result) (any, *Error) {
	if e := readParams(params); e != nil {
		return nil, e
	}
	return struct {
		Names []string `json:"app_names"`
		Max   int      `json:"max_webhooks"`
	}{s.webhooks(c.Client), s.Devices.cfg.PerClient}, nil
}

func (s *Server) removeWebhook(c Call, params map[string]json.RawMessage, r *Result) (any, *Error) {
	var name string
	if e := readParams(params, param{"app_name", true, &name}); e != nil {
		return nil, e
	}
	rows, ok := s.Devices.remove(Device{Client: c.Client, Name: name, LSPS5: true})
	if !ok {
		return nil, &Error{Code: CodeAppNameNotFound, Message: "app_name not found"}
	}
	r.Rows = rows
	return struct{}{}, nil
}

// readDevice reads the parameters of rod.register_device and rod.unregister_device.
func (s *Server) readDevice(c Call, params map[string]json.RawMessage) (Device, *Error) {
	var platform, token string
	if e := readParams(params, param{"platform", true, &platform}, param{"token", true, &token}); e != nil {
		return Device{}, e
	}
	p, ok := platformNames[platform]
	switch {
	case !ok:
		return Device{}, invalidParams("platform is none of fcm, apns, webhook")
	case token == "" || len(token) > maxToken:
		return Device{}, invalidParams(fmt.Sprintf("token length %d outside 1 to %d", len(token), maxToken))
	case p == Webhook:
		if e := s.Devices.checkURL(token); e != nil {
			return Device{}, e
		}
	}
	return Device{Client: c.Client, Name: tokenName(p, token), Platform: p, Target: token}, nil
}

func (s *Server) registerDevice(c Call, params map[string]json.RawMessage, r *Result) (any, *Error) {
	dev, e := s.readDevice(c, params)
	if e != nil {
		return nil, e
	}
	rows, same, err := s.Devices.set(dev, c.HasChannel, c.Now)
	if err != nil {
		return nil, s.setError(err, CodeTooManyDevices, "max_devices")
	}
	r.Rows = rows
	return struct {
		Num      int  `json:"num_devices"`
		Max      int  `json:"max_devices"`
		NoChange bool `json:"no_change"`
	}{len(s.Devices.Of(c.Client)), s.Devices.cfg.PerClient, same}, nil
}

func (s *Server) unregisterDevice(c Call, params map[string]json.RawMessage, r *Result) (any, *Error) {
	dev, e := s.readDevice(c, params)
	if e != nil {
		return nil, e
	}
	r.Rows, _ = s.Devices.remove(dev)
	return struct{}{}, nil
}

func (s *Server) getInfo(c Call, params map[string]json.RawMessage, r *Result) (any, *Error) {
	if e := readParams(params); e != nil {
		return nil, e
	}
	return struct {
		Version      int    `json:"version"`
		Enabled      bool   `json:"enabled"`
		MinCltvDelta uint32 `json:"min_cltv_delta"`
		DefaultHold  uint32 `json:"default_hold_blocks"`
		MaxHold      uint32 `json:"max_hold_blocks"`
		ClaimMargin  uint32 `json:"claim_margin_blocks"`
		ArmedTTL     int64  `json:"armed_ttl_seconds"`
		MaxArmedTTL  int64  `json:"max_armed_ttl_seconds"`
		MaxArmed     int    `json:"max_armed_requests"`
		MaxHeld      int    `json:"max_held_htlcs"`
		MaxHeldMsat  string `json:"max_held_msat,omitempty"`
		MaxDevices   int    `json:"max_devices"`
	}{1, s.Rod.Enabled, s.Rod.MinCltvDelta, s.Rod.DefaultHold, s.Rod.MaxHold, s.Rod.ClaimMargin, s.Rod.ArmedTTL, s.Rod.MaxArmedTTL,
		s.Rod.ArmedPerPeer, s.Rod.HeldPerPeer, msatString(s.Rod.MaxHeldMsat), s.Devices.cfg.PerClient}, nil
}

// msatString is LSPS0.msat: a decimal string. None for 0.
func msatString(v uint64) string {
	if v == 0 {
		return ""
	}
	return strconv.FormatUint(v, 10)
}

// hold is rod_hold without a signature: BOLT 8 says who asks.
func (s *Server) hold(c Call, params map[string]json.RawMessage, r *Result) (any, *Error) {
	var pid, total, path string
	var hashes []string
	m := rod.HoldRequest{}
	e := readParams(params,
		param{"pid_hash", true, &pid}, param{"payment_hashes", true, &hashes}, param{"total_msat", false, &total},
		param{"release_deadline", false, &m.Deadline}, param{"expected_parts", false, &m.ExpectedParts},
		param{"armed_ttl_seconds", false, &m.ArmedTTL}, param{"reply_path", false, &path})
	if e != nil {
		return nil, e
	}
	var err error
	if m.PidHash, err = parseHash(pid); err != nil {
		return nil, invalidParams("pid_hash: " + err.Error())
	}
	if len(hashes) > 20 {
		return nil, invalidParams(fmt.Sprintf("%d payment_hashes above maximum 20", len(hashes)))
	}
	for _, s := range hashes {
		h, err := parseHash(s)
		if err != nil {
			return nil, invalidParams("payment_hashes: " + err.Error())
		}
		m.Hashes = append(m.Hashes, h)
	}
	if total != "" {
		if m.TotalMsat, err = strconv.ParseUint(total, 10, 64); err != nil {
			return nil, invalidParams("total_msat is not a decimal string")
		}
	}
	ev := rod.Requested{Peer: c.Client, HasChannel: c.HasChannel, Payload: m.Encode(), Direct: true}
	if path != "" {
		if ev.ReplyPath, err = hex.DecodeString(path); err != nil {
			return nil, invalidParams("reply_path is not hex")
		}
	}
	r.Event = ev
	return nil, nil
}

// holdResult is rod_hold_ack in JSON.
type holdResult struct {
	Status       uint8  `json:"status"`
	StatusText   string `json:"status_text"`
	PidHash      string `json:"pid_hash"`
	Deadline     uint32 `json:"release_deadline,omitempty"`
	ArmedUntil   string `json:"armed_until,omitempty"`
	MinCltvDelta uint16 `json:"min_cltv_delta,omitempty"`
	MaxHeldMsat  string `json:"max_held_msat,omitempty"`
	Reason       string `json:"reason,omitempty"`
}

func newHoldResult(a rod.Ack) holdResult {
	r := holdResult{uint8(a.Status), a.Status.String(), hex.EncodeToString(a.PidHash[:]), a.Deadline, "", a.MinCltvDelta, msatString(a.MaxHeldMsat), a.Reason}
	if a.ArmedUntil != 0 {
		r.ArmedUntil = Datetime(int64(a.ArmedUntil) * 1000)
	}
	return r
}

func (s *Server) cancel(c Call, params map[string]json.RawMessage, r *Result) (any, *Error) {
	var pid string
	if e := readParams(params, param{"pid_hash", true, &pid}); e != nil {
		return nil, e
	}
	h, err := parseHash(pid)
	if err != nil {
		return nil, invalidParams("pid_hash: " + err.Error())
	}
	r.Event = rod.CancelRequested{Peer: c.Client, HasChannel: c.HasChannel, Payload: rod.CancelRequest{PidHash: h}.Encode(), Direct: true}
	return nil, nil
}

// cancelResult is rod_status in JSON.
type cancelResult struct {
	State     uint8  `json:"state"`
	StateText string `json:"state_text"`
}

func parseHash(s string) (h [32]byte, err error) {
	if len(s) != 64 {
		return h, fmt.Errorf("length %d is not 64 hex digits", len(s))
	}
	if _, err = hex.Decode(h[:], []byte(s)); err != nil {
		return h, errors.New("not hex")
	}
	if h == ([32]byte{}) {
		return h, errors.New("all zeros")
	}
	return h, nil
}
