//go:build !race

package pebblestore

const thin = 1
