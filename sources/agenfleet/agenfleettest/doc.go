// Package agenfleettest is a stand-in of AgenFleet's API for tests and demonstrations: the login, the agents in pages,
// single agents with their limits, and the cost analysis, in the shapes that AgenFleet's public documentation shows,
// with its errors, its paging and its limit of requests. What it serves is set by its user, and so are its faults.
//
// It must never be used for anything that is real: it has one user, and keeps nothing.
package agenfleettest
