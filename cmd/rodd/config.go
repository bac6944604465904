package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"lightningrod/chain"
	"lightningrod/chain/bitcoind"
	"lightningrod/chain/embedded"
	"lightningrod/cmd/internal/api"
	"lightningrod/node"
	"lightningrod/node/forward"

	"github.com/alecthomas/kong"
	"github.com/btcsuite/btcd/chaincfg"
	"github.com/lightningnetwork/lnd/lnwire"
)

// config is all that can be set. One field is a flag (--listen.p2p), an environment variable (ROD_LISTEN_P2P) and a key of the
// file (p2p in [listen]); the first of these that is given counts, then the default.
type config struct {
	Network string `default:"regtest" enum:"regtest,signet" help:"regtest or signet."`
	DataDir string `placeholder:"DIR" help:"Where everything is kept, in a folder for the network. Default: ~/.rod."`
	Alias   string `default:"rod" help:"Name told to others, at most 32 bytes."`
	LSP     bool   `default:"true" negatable:"" help:"Hold HTLCs, keep messages and wake clients for others."`

	BackupDir   string `placeholder:"DIR" help:"Where backups are written. Default: backups in the network's folder."`
	LineageFile string `placeholder:"PATH" help:"File by which an old copy of the database is told; best where no copy of the data folder takes it along. Default: node.lineage in the network's folder."`

	Listen struct {
		P2P      []string `name:"p2p" env:"ROD_LISTEN_P2P" default:"127.0.0.1:9735" placeholder:"HOST:PORT" help:"Where other nodes connect; empty: nowhere."`
		Announce []string `placeholder:"HOST:PORT" help:"Addresses told to others. Default: those of p2p."`
		API      string   `name:"api" placeholder:"PATH" help:"Unix socket of the API. Default: api.sock in the network's folder."`
		TLS      string   `name:"tls" placeholder:"HOST:PORT" help:"The API over TLS, for bearer tokens. Default: off."`
		TLSNames []string `name:"tls-names" placeholder:"NAME" help:"More names and addresses for the self-signed certificate."`
		Metrics  string   `placeholder:"HOST:PORT" help:"/metrics, /healthz and /readyz over plain HTTP, for whoever can reach it. Default: off."`
	} `embed:"" prefix:"listen."`

	Chain struct {
		Backend string `default:"embedded" enum:"embedded,bitcoind" help:"embedded (a chain of this node's own, regtest only) or bitcoind."`
	} `embed:"" prefix:"chain."`

	Bitcoind struct {
		Addr         string        `placeholder:"HOST:PORT" help:"RPC of bitcoind. Default: the network's port on 127.0.0.1."`
		Cookie       string        `placeholder:"PATH" help:"Its cookie file. Default: the one in ~/.bitcoin."`
		User         string        `help:"RPC user, instead of a cookie."`
		PasswordFile string        `placeholder:"PATH" help:"File with the RPC password."`
		Password     string        `help:"RPC password. Others on this machine can see it among the flags; prefer the file."`
		Wait         time.Duration `default:"30s" help:"How long to wait for bitcoind at the start."`
		ZMQ          []string      `name:"zmq" env:"ROD_BITCOIND_ZMQ" placeholder:"ADDRESS" help:"Where bitcoind publishes blocks and transactions, as in its zmqpub settings: tcp://127.0.0.1:28332. They are seen sooner then; without it they are looked for all the time."`
	} `embed:"" prefix:"bitcoind."`

	Seed struct {
		PasswordFile string `placeholder:"PATH" help:"File with the seed's password."`
		Password     string `hidden:"" help:"The seed's password: for the environment, ROD_SEED_PASSWORD."`
		NoEncrypt    bool   `help:"Keep a new seed unencrypted. Regtest only."`
	} `embed:"" prefix:"seed."`

	Policy struct {
		FeeBaseMsat     uint64 `default:"1000" help:"fee_base_msat of our channels."`
		FeePPM          uint32 `name:"fee-ppm" default:"100" help:"fee_proportional_millionths of our channels."`
		CltvExpiryDelta uint16 `default:"144" help:"Blocks between an incoming and an outgoing HTLC."`
		HTLCMinimumMsat uint64 `name:"htlc-minimum-msat" default:"1" help:"Smallest HTLC that is sent on."`
		CongestedAbove  uint32 `default:"125000" help:"Urgent fee estimate, in sat/kw, above which no new HTLC is sent on: what is claimed on chain might come too late."`
	} `embed:"" prefix:"policy."`

	Channel struct {
		MinDepth         uint32 `default:"3" help:"Confirmations before a channel is used."`
		ToSelfDelay      uint16 `default:"144" help:"Blocks that peers have to wait for their money after they close alone."`
		MaxAcceptedHTLCs uint16 `name:"max-accepted-htlcs" default:"483" help:"HTLCs that may be in flight towards us, 1 to 483."`
		MinCapacitySat   uint64 `default:"20000" help:"Smallest channel that peers may open."`
		MaxCapacitySat   uint64 `default:"1000000000" help:"Largest channel that peers may open."`
		FulfillMargin    uint32 `default:"18" help:"Blocks before its expiry at which a fulfilled HTLC goes on chain."`
	} `embed:"" prefix:"channel."`

	History struct {
		Events uint64 `default:"250000" help:"How many events are kept, the newest. 100,000 take some 16 MB."`
		Days   uint32 `default:"30" help:"How many days they are kept."`
	} `embed:"" prefix:"history."`

	Log struct {
		Format string `default:"auto" enum:"auto,text,json" help:"text, json, or auto: text on a terminal."`
		Level  string `default:"info" enum:"debug,info,warn,error" help:"debug, info, warn or error."`
	} `embed:"" prefix:"log."`
}

// commandLine is config and what to do with it.
type commandLine struct {
	ConfigFile string `name:"config" placeholder:"PATH" help:"TOML file. Default: rodd.toml in the data folder, if it is there."`
	config

	Run     struct{}   `cmd:"" default:"1" help:"Run the node (the default)."`
	Init    initCmd    `cmd:"" help:"Make a seed, show its 24 words once, and end."`
	Backup  struct{}   `cmd:"" help:"Write a consistent copy of the database, whether the node runs or not, and say where it is."`
	Restore restoreCmd `cmd:"" help:"Make a backup, or an old copy, of the database fit to run on: its channels are given up, their peers close them."`
	Config  struct {
		Check struct{} `cmd:"" help:"Say whether the configuration is good, and end."`
		Print struct{} `cmd:"" help:"Print the configuration as it counts, as TOML without passwords, and end."`
	} `cmd:"" help:"Check or print the configuration."`
	Version struct{} `cmd:"" help:"Print the version."`
}

type initCmd struct {
	Restore   bool   `help:"Take the seed's 24 words instead of making a seed."`
	WordsFile string `placeholder:"PATH" help:"File with the words. Default: they are asked for, or read from the standard input."`
	Birthday  uint32 `placeholder:"HEIGHT" help:"A block height before the seed was first used, so that the search for its coins is short. Default: from the first block."`
}

func (c *initCmd) run(k *seedKeeper) error {
	switch {
	case c.Restore:
		return k.restore(c.WordsFile, c.Birthday)
	case c.WordsFile != "" || c.Birthday != 0:
		return exitError{exitConfig, errors.New("words-file and birthday: only with --restore")}
	}
	return k.create(true)
}

type restoreCmd struct {
	Backup string `arg:"" optional:"" help:"The backup. Default: the node.db that is there."`
}

// parse reads flags, environment and file. Helped says that the user asked for help and got it.
func parse(args []string, stdout, stderr io.Writer) (line *commandLine, command string, helped bool, err error) {
	read := func(resolvers ...kong.Option) (string, error) {
		line = &commandLine{}
		options := append([]kong.Option{
			kong.Name("rodd"), kong.Description("Lightning Rod: a Lightning node that holds payments for nodes which are never online together."),
			kong.Writers(stdout, stderr), kong.Exit(func(int) { helped = true }), kong.DefaultEnvars("ROD"),
			kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true}),
		}, resolvers...)
		k, err := kong.New(line, options...)
		if err != nil {
			return "", err
		}
		ctx, err := k.Parse(args)
		if err != nil || helped {
			return "", err
		}
		return ctx.Command(), nil
	}
	// The first look finds the file, the second reads with it.
	command, err = read()
	if err != nil || helped {
		return line, "", helped, err
	}
	file, given, err := line.configPath()
	if err != nil {
		return nil, "", false, err
	}
	text, err := os.ReadFile(file)
	switch {
	case err == nil:
		keys, err := tomlKeys(text)
		if err != nil {
			return nil, "", false, fmt.Errorf("%s: %w", file, err)
		}
		if command, err = read(kong.Resolvers(&fileResolver{path: file, keys: keys})); err != nil {
			return nil, "", false, err
		}
	case !given && errors.Is(err, os.ErrNotExist):
	default:
		return nil, "", false, fmt.Errorf("config: %w", err)
	}
	if err := checkEnvironment(os.Environ()); err != nil {
		return nil, "", false, err
	}
	if err := line.settle(); err != nil {
		return nil, "", false, err
	}
	return line, command, false, nil
}

// checkEnvironment refuses variables that look like a key of a section and are none. What else begins with ROD_ may be another program's.
func checkEnvironment(environ []string) error {
	known := map[string]bool{}
	k, err := kong.New(&commandLine{}, kong.DefaultEnvars("ROD"))
	if err != nil {
		return err
	}
	var sections []string
	for _, f := range k.Model.Flags {
		for _, env := range f.Envs {
			known[env] = true
		}
		if section, _, in := strings.Cut(f.Name, "."); in {
			sections = append(sections, "ROD_"+strings.ToUpper(section)+"_")
		}
	}
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		if !known[name] && slices.ContainsFunc(sections, func(s string) bool { return strings.HasPrefix(name, s) }) {
			return fmt.Errorf("environment: unknown key %s", name)
		}
	}
	return nil
}

func (c *commandLine) configPath() (path string, given bool, err error) {
	if c.ConfigFile != "" {
		path, err = expand(c.ConfigFile)
		return path, true, err
	}
	dir, err := c.dataDir()
	return filepath.Join(dir, "rodd.toml"), false, err
}

// expand is a path with ~ as the home folder.
func expand(path string) (string, error) {
	rest, ok := strings.CutPrefix(path, "~")
	if !ok || rest != "" && rest[0] != '/' {
		return path, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return home + rest, nil
}

func (c *config) dataDir() (string, error) {
	if c.DataDir == "" {
		return api.DefaultDir()
	}
	return expand(c.DataDir)
}

// settle fills in what follows from other fields, and checks what can be checked without touching anything.
func (c *config) settle() (err error) {
	if c.DataDir, err = c.dataDir(); err != nil {
		return err
	}
	if c.DataDir, err = filepath.Abs(c.DataDir); err != nil {
		return err
	}
	for _, path := range []*string{&c.Listen.API, &c.BackupDir, &c.LineageFile, &c.Bitcoind.Cookie, &c.Bitcoind.PasswordFile, &c.Seed.PasswordFile} {
		if *path, err = expand(*path); err != nil {
			return err
		}
	}
	if c.Listen.API == "" {
		c.Listen.API = filepath.Join(c.dir(), "api.sock")
	}
	if c.BackupDir == "" {
		c.BackupDir = filepath.Join(c.dir(), "backups")
	}
	if c.LineageFile == "" {
		c.LineageFile = filepath.Join(c.dir(), "node.lineage")
	}
	for _, list := range []*[]string{&c.Listen.P2P, &c.Bitcoind.ZMQ} {
		*list = slices.DeleteFunc(*list, func(a string) bool { return a == "" })
	}
	if c.Chain.Backend == "bitcoind" {
		if err := c.settleBitcoind(); err != nil {
			return err
		}
	}
	return c.check()
}

func (c *config) settleBitcoind() error {
	if c.Bitcoind.Addr == "" {
		port := map[string]string{"regtest": "18443", "signet": "38332"}[c.Network]
		c.Bitcoind.Addr = "127.0.0.1:" + port
	}
	if c.Bitcoind.User == "" && c.Bitcoind.Cookie == "" {
		path, err := expand("~/.bitcoin/" + c.Network + "/.cookie")
		if err != nil {
			return err
		}
		c.Bitcoind.Cookie = path
	}
	return nil
}

// sockPathLimit is what a unix socket's name may have on Linux.
const sockPathLimit = 107

func (c *config) check() error {
	hostPort := func(key string, addrs ...string) error {
		for _, a := range addrs {
			if a == "" {
				continue
			}
			_, port, err := net.SplitHostPort(a)
			if err != nil {
				return fmt.Errorf("%s: %q is not host:port", key, a)
			}
			if _, err := strconv.ParseUint(port, 10, 16); err != nil {
				return fmt.Errorf("%s: port %q outside 0..65535", key, port)
			}
		}
		return nil
	}
	errs := []error{
		hostPort("listen.p2p", c.Listen.P2P...), hostPort("listen.announce", c.Listen.Announce...), hostPort("listen.tls", c.Listen.TLS),
		hostPort("listen.metrics", c.Listen.Metrics), hostPort("bitcoind.addr", c.Bitcoind.Addr),
	}
	for _, a := range c.Bitcoind.ZMQ {
		if err := bitcoind.CheckZMQ(a); err != nil {
			errs = append(errs, fmt.Errorf("bitcoind.zmq: %w", err))
		}
	}
	for _, x := range []struct {
		bad  bool
		text string
	}{
		{len(c.Alias) > 32, fmt.Sprintf("alias: %d bytes, at most 32 (BOLT 7)", len(c.Alias))},
		{len(c.Listen.API) > sockPathLimit, fmt.Sprintf("listen.api: a path of %d bytes, at most %d: choose a shorter one", len(c.Listen.API), sockPathLimit)},
		{c.Chain.Backend == "embedded" && c.Network != "regtest", fmt.Sprintf("chain.backend: embedded is for regtest, not %s", c.Network)},
		{c.Seed.NoEncrypt && c.Network != "regtest", fmt.Sprintf("seed.no-encrypt: for regtest only, not %s", c.Network)},
		{c.Bitcoind.Wait < 0, fmt.Sprintf("bitcoind.wait: %v below 0", c.Bitcoind.Wait)},
		{c.Bitcoind.Password != "" && c.Bitcoind.PasswordFile != "", "bitcoind.password and bitcoind.password-file: give one"},
		{c.Seed.Password != "" && c.Seed.PasswordFile != "", "seed.password and seed.password-file: give one"},
		{c.Channel.MaxAcceptedHTLCs < 1 || c.Channel.MaxAcceptedHTLCs > 483, fmt.Sprintf("channel.max-accepted-htlcs: %d outside 1..483", c.Channel.MaxAcceptedHTLCs)},
		{c.Channel.MinCapacitySat > c.Channel.MaxCapacitySat, fmt.Sprintf("channel.min-capacity-sat: %d above channel.max-capacity-sat %d", c.Channel.MinCapacitySat, c.Channel.MaxCapacitySat)},
		{c.Channel.MinDepth < 1 || c.Channel.MinDepth > 144, fmt.Sprintf("channel.min-depth: %d outside 1..144", c.Channel.MinDepth)},
		{c.Channel.ToSelfDelay < 6 || c.Channel.ToSelfDelay > 2016, fmt.Sprintf("channel.to-self-delay: %d outside 6..2016", c.Channel.ToSelfDelay)},
		{c.Policy.CltvExpiryDelta < 34, fmt.Sprintf("policy.cltv-expiry-delta: %d below minimum 34", c.Policy.CltvExpiryDelta)},
		{c.Policy.CltvExpiryDelta > 2016, fmt.Sprintf("policy.cltv-expiry-delta: %d above 2016", c.Policy.CltvExpiryDelta)},
		{c.History.Events < 1000 || c.History.Events > 100_000_000, fmt.Sprintf("history.events: %d outside 1000..100000000", c.History.Events)},
		{c.History.Days < 1 || c.History.Days > 3650, fmt.Sprintf("history.days: %d outside 1..3650", c.History.Days)},
		{c.Policy.CongestedAbove < 1000, fmt.Sprintf("policy.congested-above: %d below 1000 sat/kw", c.Policy.CongestedAbove)},
		{c.Policy.FeePPM > 1_000_000, fmt.Sprintf("policy.fee-ppm: %d above 1000000", c.Policy.FeePPM)},
		{c.Policy.FeeBaseMsat > 1_000_000_000, fmt.Sprintf("policy.fee-base-msat: %d above 1000000000", c.Policy.FeeBaseMsat)},
	} {
		if x.bad {
			errs = append(errs, errors.New(x.text))
		}
	}
	for _, err := range errs {
		if err != nil {
			return err // one clear line
		}
	}
	return nil
}

// dir is the network's folder.
func (c *config) dir() string { return filepath.Join(c.DataDir, c.Network) }

func (c *config) params() *chaincfg.Params {
	switch {
	case c.Network == "signet":
		return &chaincfg.SigNetParams
	case c.Chain.Backend == "embedded":
		return embedded.Params()
	}
	return &chaincfg.RegressionNetParams
}

// node is the node's own configuration, but for seed, chain and log.
func (c *config) node() node.Config {
	return node.Config{
		Dir: c.dir(), Lineage: c.LineageFile, Params: c.params(), Alias: c.Alias, LSP: c.LSP, Listen: c.Listen.P2P, Announce: c.Listen.Announce,
		LocalHooks: c.Network == "regtest",
		History:    node.Retention{Events: c.History.Events, Age: time.Duration(c.History.Days) * 24 * time.Hour},
		Policy: forward.Policy{
			FeeBase: lnwire.MilliSatoshi(c.Policy.FeeBaseMsat), FeePPM: c.Policy.FeePPM, CltvExpiryDelta: c.Policy.CltvExpiryDelta,
			HTLCMinimum: lnwire.MilliSatoshi(c.Policy.HTLCMinimumMsat),
		},
		CongestedAbove: chain.FeePerKw(c.Policy.CongestedAbove),
		Channel: node.ChannelConfig{
			MinDepth: c.Channel.MinDepth, ToSelfDelay: c.Channel.ToSelfDelay, MaxAcceptedHTLCs: c.Channel.MaxAcceptedHTLCs,
			MinCapacity: c.Channel.MinCapacitySat, MaxCapacity: c.Channel.MaxCapacitySat, FulfillMargin: c.Channel.FulfillMargin,
		},
	}
}
