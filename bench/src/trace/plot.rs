//! Hit ratio over cache size as a picture: a panel for each trace, a line for each policy and reference.

use std::{fs, ops::Range, path::Path};

use plotters::{
    coord::Shift,
    prelude::{
        BLACK, ChartBuilder, DrawingArea, IntoDrawingArea, IntoLogRange, LineSeries, PathElement,
        RGBColor, SVGBackend, WHITE,
    },
    style::{Color, ShapeStyle},
};

use super::{
    error::TraceError,
    report::{Kind, Row, TraceReport, WorkloadReport},
};

/// Width and height of a panel.
const PANEL: (u32, u32) = (560, 400);
const COLUMNS: usize = 2;
const FONT: &str = "sans-serif";

/// Of policies, in their order; then again.
const COLOURS: [RGBColor; 8] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 39, 40),
    RGBColor(44, 160, 44),
    RGBColor(255, 127, 14),
    RGBColor(148, 103, 189),
    RGBColor(140, 86, 75),
    RGBColor(227, 119, 194),
    RGBColor(23, 190, 207),
];

/// Of references, in their order.
const GREYS: [RGBColor; 4] = [
    RGBColor(150, 150, 150),
    RGBColor(205, 205, 205),
    RGBColor(95, 95, 95),
    BLACK,
];

/// Draws a report into a file.
pub(super) fn draw(report: &TraceReport, path: &Path) -> Result<(), TraceError> {
    let failed = |what: String| TraceError::Plot {
        path: path.to_owned(),
        what,
    };
    let picture = picture(&report.workloads).map_err(failed)?;
    fs::write(path, picture).map_err(|error| failed(error.to_string()))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The picture as SVG.
fn picture(workloads: &[WorkloadReport]) -> Result<String, String> {
    let columns = workloads.len().clamp(1, COLUMNS);
    let rows = workloads.len().div_ceil(columns).max(1);
    let size = (PANEL.0 * columns as u32, PANEL.1 * rows as u32);
    let mut picture = String::new();
    {
        let all = SVGBackend::with_string(&mut picture, size).into_drawing_area();
        all.fill(&WHITE).map_err(|error| error.to_string())?;
        for (area, workload) in all.split_evenly((rows, columns)).iter().zip(workloads) {
            panel(area, workload).map_err(|error| error.to_string())?;
        }
        all.present().map_err(|error| error.to_string())?;
    }
    Ok(picture)
}

fn panel(area: &Area<'_>, workload: &WorkloadReport) -> Result<(), Box<dyn std::error::Error>> {
    let footprint = workload.footprint_bytes.max(1) as f64;
    let sizes = workload.sizes.iter();
    let percents: Vec<f64> = sizes
        .map(|size| size.bytes as f64 / footprint * 100.0)
        .collect();
    let mut chart = ChartBuilder::on(area)
        .caption(&workload.name, (FONT, 18))
        .margin(12)
        .x_label_area_size(38)
        .y_label_area_size(48)
        .build_cartesian_2d(around(&percents).log_scale(), 0.0..100.0)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("cache, % of the footprint")
        .y_desc("reads that hit, %")
        .x_label_formatter(&|percent| format!("{percent}"))
        .y_label_formatter(&|percent| format!("{percent:.0}"))
        .label_style((FONT, 12))
        .draw()?;
    for (row, line) in workload.rows.iter().zip(lines(&workload.rows)) {
        let mut points: Vec<(f64, f64)> = percents
            .iter()
            .zip(&row.cells)
            .map(|(&percent, cell)| (percent, cell.hit_ratio * 100.0))
            .collect();
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
        let Line { style, point } = line;
        chart
            .draw_series(LineSeries::new(points, style).point_size(point))?
            .label(&row.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    chart
        .configure_series_labels()
        .position(plotters::prelude::SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.2))
        .label_font((FONT, 12))
        .draw()?;
    Ok(())
}

/// How a row is drawn.
#[derive(Clone, Copy)]
struct Line {
    style: ShapeStyle,
    point: u32,
}

/// Lines for rows, so that each kind has its own from the first.
fn lines(rows: &[Row]) -> impl Iterator<Item = Line> {
    let mut colours = COLOURS.into_iter().cycle();
    let mut greys = GREYS.into_iter().cycle();
    rows.iter().filter_map(move |row| {
        let (colour, width, point) = match row.kind {
            Kind::Policy => (colours.next()?, 2, 3),
            Kind::Reference => (greys.next()?, 1, 0),
        };
        Some(Line {
            style: colour.stroke_width(width),
            point,
        })
    })
}

/// A range with some room on both sides, by their ratio.
fn around(values: &[f64]) -> Range<f64> {
    const ROOM: f64 = 1.25;
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    least.min(most) / ROOM..most * ROOM
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{
        replay::Tally,
        report::{Cell, SizeReport},
        request::tests::trace,
    };

    fn workload(name: &str, bytes: &[u64]) -> WorkloadReport {
        let size = |&bytes: &u64| SizeReport {
            name: bytes.to_string(),
            bytes,
        };
        let sizes = bytes.iter().map(size).collect();
        let mut workload = WorkloadReport::new(&trace("a"), 1000, sizes);
        workload.name = name.to_owned();
        let half = Cell::from(Tally {
            gets: 2,
            hits: 1,
            ..Tally::default()
        });
        for (name, kind) in [("allkeys-lru", Kind::Policy), ("Belady", Kind::Reference)] {
            workload.push(name, kind, vec![half; bytes.len()]);
        }
        workload
    }

    #[test]
    fn there_is_a_panel_for_each_trace_and_a_label_for_each_row() {
        let names = ["one", "two & <three>", "four"];
        let picture = picture(&names.map(|name| workload(name, &[10, 100, 900]))).unwrap();
        assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"));
        for text in [
            "one",
            "two &amp; &lt;three&gt;",
            "four",
            "allkeys-lru",
            "Belady",
        ] {
            assert!(picture.contains(text), "{text}: {picture}");
        }
    }

    #[test]
    fn any_sizes_can_be_drawn() {
        for bytes in [&[][..], &[1], &[500, 500], &[u64::MAX, 1]] {
            assert!(picture(&[workload("one", bytes)]).is_ok(), "{bytes:?}");
        }
        assert!(picture(&[]).is_ok());
    }
}
