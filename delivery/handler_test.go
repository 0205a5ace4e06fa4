package delivery

import (
	"github.com/ThreeDotsLabs/watermill/message"
)

func (w *world) handle(it *item) error {
	msg := message.NewMessage(it.due.Delivery, nil)
	msg.SetContext(it)
	return w.d.handle(msg)
}
