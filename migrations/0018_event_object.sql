-- What Stripe told us of one object, for the operator who looks for it.
CREATE INDEX stripe_event_object ON stripe_event (object_id);
