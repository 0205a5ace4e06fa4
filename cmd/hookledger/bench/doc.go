// Package bench measures this binary on loopback: serve, receive and the load run as three processes with their
// defaults, and a bare net/http loop that posts the same body with the same HMAC to the same receiver is the yardstick.
//
// Every clock stops when the read models have caught up, and durability stays on. The load is bounded and ends by
// itself; the processes that were started are ended by their ids on any exit. It must never tune the server for the
// measurement, leave a figure out because it is bad, or print one that was not measured in this run.
package bench
