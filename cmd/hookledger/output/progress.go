package output

import (
	"io"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// Progress is a bar on a terminal, and nothing elsewhere. Its methods are safe for concurrent use.
type Progress struct {
	pool *mpb.Progress
	bar  *mpb.Bar
	says *atomic.Pointer[string] // beside the title
}

// NewProgress begins a bar on w if that is a terminal. total 0 means that nobody knows it: a counter is drawn.
func NewProgress(w io.Writer, title string, total int64) *Progress {
	if !IsTerminal(w) {
		return &Progress{}
	}
	return newProgress(w, title, total, false, mpb.WithWidth(40))
}

// NewBytes is NewProgress for a number of bytes.
func NewBytes(w io.Writer, title string, total int64) *Progress {
	if !IsTerminal(w) {
		return &Progress{}
	}
	return newProgress(w, title, total, true, mpb.WithWidth(40))
}

func newProgress(w io.Writer, title string, total int64, bytes bool, opts ...mpb.ContainerOption) *Progress {
	pool := mpb.New(append(opts, mpb.WithOutput(w), mpb.WithRefreshRate(120*time.Millisecond))...)
	says := new(atomic.Pointer[string])
	says.Store(new(string))
	name := mpb.PrependDecorators(decor.Name(title+" ", decor.WCSyncSpaceR),
		decor.Any(func(decor.Statistics) string { return *says.Load() }))
	pair, one, speed := decor.CountersNoUnit("%d/%d"), decor.CurrentNoUnit("%d"), decor.AverageSpeed(0, " %.0f/s")
	if bytes {
		pair, one = decor.CountersKibiByte("% .1f / % .1f"), decor.CurrentKibiByte("% .1f")
		speed = decor.AverageSpeed(decor.SizeB1024(0), " % .1f")
	}
	var bar *mpb.Bar
	if total > 0 {
		bar = pool.AddBar(total, name, mpb.BarRemoveOnComplete(),
			mpb.AppendDecorators(pair, speed, decor.Name(" "), decor.AverageETA(decor.ET_STYLE_GO)))
	} else {
		bar = pool.AddSpinner(0, name, mpb.BarRemoveOnComplete(), mpb.AppendDecorators(one, speed))
	}
	return &Progress{pool: pool, bar: bar, says: says}
}

// Add counts n more.
func (p *Progress) Add(n int) {
	if p.bar != nil {
		p.bar.IncrBy(n)
	}
}

// Set says how many there are by now.
func (p *Progress) Set(n int64) {
	if p.bar != nil {
		p.bar.SetCurrent(n)
	}
}

// Say shows a text beside the title, until the next one; it says whether there is a bar.
func (p *Progress) Say(text string) bool {
	if p.bar == nil {
		return false
	}
	if text != "" {
		text += " "
	}
	p.says.Store(&text)
	return true
}

// Note writes a line above the bar, or to w where there is none.
func (p *Progress) Note(w io.Writer, line string) {
	if p.bar != nil {
		w = p.pool
	}
	_, _ = io.WriteString(w, line+"\n") // as everything that is told a person beside the data
}

// Done takes the bar away; what is written after it starts on a clean line.
func (p *Progress) Done() {
	if p.bar != nil {
		p.bar.Abort(true)
		p.pool.Wait()
	}
}
