//go:build !linux || fallback

package netpoll

const knowsUnacked = false
