package reconcile

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"hookledger/domain"
)

// TestSpentIsARunningTotal: the highest and last counts once; nothing of two kinds is added.
func TestSpentIsARunningTotal(t *testing.T) {
	t.Parallel()
	l := &fake{}
	day := march.AddDate(0, 0, 16)
	l.event(day.Add(time.Hour), "atlas", "daily", "tokens", "", "100")
	highest := l.event(day.Add(2*time.Hour), "atlas", "daily", "tokens", "", "250")
	l.event(day.Add(3*time.Hour), "atlas", "daily", "tokens", "", "200")    // a total never falls
	l.event(day.Add(25*time.Hour), "atlas", "daily", "tokens", "", "7")     // the next day's
	l.event(day.Add(time.Hour), "atlas", "monthly", "tokens", "", "900")    // of a month, which holds the days
	l.event(day.Add(time.Hour), "atlas", "monthly", "money", "USD", "0.10") // three kinds of money
	l.event(day.Add(2*time.Hour), "nova", "monthly", "money", "USD", "0.20")
	l.event(day.Add(time.Hour), "atlas", "monthly", "money", "EUR", "5e-1")
	r := compute(t, l, Spec{Rules: rules()})
	got := []string{}
	for _, m := range r.Amounts {
		got = append(got, fmt.Sprintf("%s %s%s %d %s", m.Period, m.Unit, m.Currency, m.Accounts, m.Spent))
	}
	want := []string{"daily tokens 2 257", "monthly tokens 1 900", "monthly moneyEUR 1 0.5", "monthly moneyUSD 2 0.3"}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	i := slices.IndexFunc(r.Accounts, func(a Account) bool { return a.Events == 3 })
	if a := r.Accounts[i]; a.EventID != highest.ID || !a.Decreased || a.Spent.String() != "250" {
		t.Errorf("%+v", a)
	}
	// Amounts can be added over the groups of an endpoint, and give the whole.
	sum := Decimal{}
	for _, g := range r.Groups {
		for _, m := range g.Amounts {
			if g.Endpoint == ep1 && m.Unit == "tokens" && m.Period == "daily" {
				sum = sum.Add(m.Spent)
			}
		}
	}
	if sum.String() != "257" {
		t.Errorf("the groups add up to %s", sum)
	}
}

// TestTheOrderOfEventsChangesNoAmount: whatever comes first, the same total counts.
func TestTheOrderOfEventsChangesNoAmount(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 3))
		l := &fake{}
		for range 40 {
			l.event(march.Add(time.Duration(rng.IntN(36))*time.Hour), fmt.Sprint("a", rng.IntN(3)), "daily", "tokens", "",
				fmt.Sprint(rng.IntN(5)))
		}
		first := compute(t, l, Spec{Rules: rules()})
		rng.Shuffle(len(l.events), func(i, j int) { l.events[i], l.events[j] = l.events[j], l.events[i] })
		second := compute(t, l, Spec{Rules: rules()})
		for i, a := range first.Accounts {
			b := second.Accounts[i]
			if a.AccountKey != b.AccountKey || a.Spent.Cmp(b.Spent) != 0 || a.Events != b.Events || !a.at.Equal(b.at) {
				t.Errorf("seed %d: %+v\n%+v", seed, a, b)
			}
		}
	}
}

func TestPeriodsAndDaysFollowTheTimeZone(t *testing.T) {
	t.Parallel()
	from, to, err := Period("2026-03", "Europe/Berlin")
	if err != nil || to.Sub(from) != 31*24*time.Hour-time.Hour || from.Hour() != 23 {
		t.Errorf("%s to %s: %v", from, to, err)
	}
	l := &fake{}
	late := l.event(time.Date(2026, 3, 17, 23, 30, 0, 0, time.UTC), "atlas", "daily", "tokens", "", "1")
	late.Data = []byte(`{"agentId":"atlas","budget":1,"spent":1,"period":"daily","unit":"tokens"}`)
	s := Spec{Rules: rules()}
	s.Rules.TimeZone, s.Rules.By = "Europe/Berlin", domain.ByEvent
	r := compute(t, l, s)
	if r.Groups[0].Day != "2026-03-18" || !r.Accounts[0].Start.Equal(time.Date(2026, 3, 17, 23, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v\n%+v", r.Groups[0], r.Accounts[0])
	}
}

// TestLateIsMeasuredFromTheTimeThatCounts: what came to us late is late by its own time, and not by ours.
func TestLateIsMeasuredFromTheTimeThatCounts(t *testing.T) {
	t.Parallel()
	l := &fake{}
	e := l.event(march.Add(time.Hour), "atlas", "daily", "tokens", "", "1")
	e.Received = e.At.Add(DefaultLateAfter)
	for i := range e.Deliveries {
		e.Deliveries[i].Confirmed[0].At = e.Received.Add(time.Second)
	}
	for by, want := range map[string]int{domain.ByReceived: 0, domain.ByEvent: 2} {
		s := Spec{Rules: rules()}
		s.Rules.By = by
		if got := compute(t, l, s).Totals.Late; got != want {
			t.Errorf("by %s: %d late, want %d", by, got, want)
		}
	}
}

// TestADigestIsOfTheReport: the same again for the same, and another for any change.
func TestADigestIsOfTheReport(t *testing.T) {
	t.Parallel()
	l := history(rand.New(rand.NewPCG(1, 1)), 50)
	base := Spec{Rules: rules(), Closed: 40}
	digest := compute(t, l, base).Digest
	if compute(t, l, base).Digest != digest {
		t.Error("it is another the second time")
	}
	short := base
	short.MaxListed = 1
	if r := compute(t, l, short); len(r.Adjustments) != 1 || r.Totals.Adjustments != 10 {
		t.Errorf("%d adjustments are listed of %d", len(r.Adjustments), r.Totals.Adjustments)
	}
	for name, change := range map[string]func(*Spec){
		"tolerance": func(s *Spec) { s.Rules.Tolerance = "1" },
		"time zone": func(s *Spec) { s.Rules.TimeZone = "Asia/Tokyo" },
		"period":    func(s *Spec) { s.Rules.To = s.Rules.To.Add(time.Hour) },
		"closing":   func(s *Spec) { s.Closed = 41 },
		"position":  func(s *Spec) { s.AsOf = 49 },
		"agents":    func(s *Spec) { s.Agents = []string{"agent_0001"} },
	} {
		s := base
		change(&s)
		if compute(t, l, s).Digest == digest {
			t.Errorf("%s: the digest is the same", name)
		}
	}
	l.events[7].Deliveries[0].Confirmed = nil
	if compute(t, l, base).Digest == digest {
		t.Error("a delivery failed, and the digest is the same")
	}
}

// TestWhatWasErasedIsCounted: and compared with nothing.
func TestWhatWasErasedIsCounted(t *testing.T) {
	t.Parallel()
	l := &fake{}
	e := l.event(march.Add(time.Hour), "atlas", "daily", "tokens", "", "1")
	e.Erased, e.Data = true, nil
	f, err := ReadFile(domain.AgainstBilling, FormatCSV, "UTC", []byte("event_id,unit,spent\n"+e.ID+",tokens,99\n"))
	if err != nil {
		t.Fatal(err)
	}
	s := Spec{Rules: rules(), File: f}
	s.Rules.Against = domain.AgainstBilling
	if r := compute(t, l, s); r.Totals.Erased != 1 || !r.Balanced() || len(r.Accounts) != 0 {
		t.Errorf("%+v", r)
	}
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from, to uint64
		have     []uint64
		want     string
	}{
		{1, 3, []uint64{1, 2, 3}, "3 0 [] 0"},
		{1, 3, nil, "0 3 [{1 3}] 0"},
		{5, 9, []uint64{5, 5, 5, 8}, "2 3 [{6 7} {9 9}] 1"},
		{math.MaxUint64 - 1, math.MaxUint64, []uint64{math.MaxUint64}, "1 1 [{18446744073709551614 18446744073709551614}] 0"},
		{math.MaxUint64, math.MaxUint64, []uint64{math.MaxUint64, math.MaxUint64}, "1 0 [] 1"},
	} {
		l := &fake{}
		for i, n := range c.have {
			l.numbered = append(l.numbered, domain.NumberedEvent{ID: fmt.Sprint("evt_", i), Sequence: n})
		}
		s := Spec{Rules: rules()}
		s.Rules.Numbered = &domain.NumberRange{Source: "s", From: c.from, To: c.to}
		r := compute(t, l, s)
		g := r.Gaps
		if got := fmt.Sprint(g.Present, g.Missing, g.Ranges, len(g.Twice)); got != c.want || r.Balanced() != g.Complete ||
			g.Complete != (g.Missing == 0 && len(g.Twice) == 0) {
			t.Errorf("%d-%d of %v: %s, want %s", c.from, c.to, c.have, got, c.want)
		}
	}
}

func TestDecimals(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{"0": "0", "12.50": "12.5", "0.1": "0.1", "1e3": "1000", "1.5E-3": "0.0015",
		"1234567890123456789012345.000000000001": "1234567890123456789012345.000000000001"} {
		if d, ok := ParseDecimal(s); !ok || d.String() != want {
			t.Errorf("%s is %s, want %s", s, d, want)
		}
	}
	for _, s := range []string{"", "-1", "+1", "1,5", "1.", ".5", "01", "0x1", "1/3", "1e31", "1e", "NaN", "Inf", "1_000",
		" 1", "1 ", strings.Repeat("9", 41)} {
		if _, ok := ParseDecimal(s); ok {
			t.Errorf("%q is taken", s)
		}
	}
	sum := Decimal{}
	tenth, _ := ParseDecimal("0.1")
	for range 10 {
		sum = sum.Add(tenth)
	}
	if sum.String() != "1" {
		t.Errorf("ten tenths are %s", sum)
	}
}

func FuzzReadFile(f *testing.F) {
	f.Add("event_id,unit,spent\nb1,tokens,1\n", true)
	f.Add(`{"webhook_id":"b1","received_at":"2026-03-01"}`, false)
	f.Add("\ufeffwebhook_id\n\"a\nb\"\n", false)
	f.Fuzz(func(t *testing.T, text string, billing bool) {
		against := domain.AgainstReceiver
		if billing {
			against = domain.AgainstBilling
		}
		for _, format := range []string{FormatCSV, FormatNDJSON} {
			file, err := ReadFile(against, format, "UTC", []byte(text))
			if err == nil && len(file.billing)+len(file.ids) != file.Rows {
				t.Errorf("%d rows, and %d were read", file.Rows, len(file.billing)+len(file.ids))
			}
			if err != nil && domain.Code(err) == "" {
				t.Errorf("it says no fix: %v", err)
			}
		}
	})
}
