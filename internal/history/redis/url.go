package redis

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// ErrURL: the URL does not name a Redis. Its text never holds the password.
var ErrURL = errors.New("bad Redis URL")

// Target names a Redis.
type Target struct {
	kind      kind
	addresses []string // of the server, the Sentinels, or nodes of the Cluster
	master    string   // that the Sentinels watch
	db        int
	user      string
	password  string
	tls       bool
}

type kind uint8

const (
	standalone kind = iota
	sentinel
	cluster
)

// ParseURL reads one of
//
//	redis://[user:password@]host[:port][/db]
//	rediss://…                                       the same over TLS
//	redis-sentinel://[user:password@]host[:port],…/MASTER[?db=N]
//	redis-cluster://[user:password@]host[:port],…
//
// Ports default to 6379, of Sentinels to 26379. The password is Redis's; with
// Sentinel it is tried on the Sentinels too, if they ask for one.
// redis-sentinels:// and redis-clusters:// go over TLS. Errors: ErrURL.
func ParseURL(s string) (Target, error) {
	t, err := parseURL(s)
	if err != nil {
		return Target{}, fmt.Errorf("%w: %w", ErrURL, err)
	}
	return t, nil
}

func parseURL(s string) (t Target, err error) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return t, errors.New(`want redis://host:port/db, redis-sentinel://host:port,…/MASTER or redis-cluster://host:port,…`)
	}
	port := "6379"
	switch scheme {
	case "redis", "rediss":
	case "redis-sentinel", "redis-sentinels":
		t.kind, port = sentinel, "26379"
	case "redis-cluster", "redis-clusters":
		t.kind = cluster
	default:
		return t, errors.New("unknown scheme: want redis, rediss, redis-sentinel or redis-cluster")
	}
	t.tls = strings.HasSuffix(scheme, "s") && scheme != "redis"
	rest, query, _ := strings.Cut(rest, "?")
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		if t.user, t.password, err = credentials(rest[:at]); err != nil {
			return t, err
		}
		rest = rest[at+1:]
	}
	hosts, path, _ := strings.Cut(rest, "/")
	if t.addresses, err = addresses(hosts, port); err != nil {
		return t, err
	}
	return t, t.place(path, query)
}

// credentials reads "user:password", either of which may be empty.
func credentials(s string) (user, password string, err error) {
	u, p, _ := strings.Cut(s, ":")
	user, err1 := url.PathUnescape(u)
	password, err2 := url.PathUnescape(p)
	if err1 != nil || err2 != nil {
		return "", "", errors.New("user or password: a % that is not followed by two hexadecimal digits")
	}
	return user, password, nil
}

func addresses(hosts, port string) (list []string, err error) {
	for _, host := range strings.Split(hosts, ",") {
		address := host
		if _, _, err := net.SplitHostPort(host); err != nil {
			address = net.JoinHostPort(strings.Trim(host, "[]"), port)
		}
		name, number, err := net.SplitHostPort(address)
		if n, bad := strconv.ParseUint(number, 10, 16); err != nil || bad != nil || n == 0 || name == "" {
			return nil, fmt.Errorf("address %q: want host:port", host)
		}
		list = append(list, address)
	}
	return list, nil
}

// place reads what follows the addresses.
func (t *Target) place(path, query string) error {
	params, err := url.ParseQuery(query)
	if err != nil {
		return errors.New("what follows '?' is not a query")
	}
	db := params.Get("db")
	params.Del("db")
	for name := range params {
		return fmt.Errorf("unknown parameter %q", name)
	}
	switch t.kind {
	case standalone:
		if len(t.addresses) > 1 {
			return errors.New("several addresses: want redis-sentinel:// or redis-cluster://")
		}
		or(&db, path)
	case sentinel:
		if t.master = path; path == "" {
			return errors.New("the master's name is missing: want redis-sentinel://host:port,…/MASTER")
		}
	case cluster:
		if path != "" || db != "" && db != "0" {
			return errors.New("a Cluster has only database 0")
		}
	}
	if db == "" {
		return nil
	}
	if t.db, err = strconv.Atoi(db); err != nil || t.db < 0 {
		return fmt.Errorf("database %q: want a number", db)
	}
	return nil
}

// String returns the URL without user and password.
func (t Target) String() string {
	scheme := [...]string{"redis", "redis-sentinel", "redis-cluster"}[t.kind]
	if t.tls {
		scheme += "s"
	}
	s := scheme + "://" + strings.Join(t.addresses, ",")
	switch t.kind {
	case standalone:
		return s + "/" + strconv.Itoa(t.db)
	case sentinel:
		return s + "/" + t.master + "?db=" + strconv.Itoa(t.db)
	}
	return s
}
